"""Training: data, runs that repeat and resume to the bit, hooks of specs, and the command line."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attnc
import pytest
import torch
from attnc.runtime.cli import attnc as program
from attnc.runtime.training import checkpoint, contest
from attnc.runtime.training.checkpoint import CheckpointMistake
from attnc.runtime.training.data import (
    UNKNOWN,
    Texts,
    Vocabulary,
    batch_at,
    corpus_of,
    fixed_windows,
    read_texts,
)
from attnc.runtime.training.loop import Diverged, Recipe, Trainer, reproducible
from attnc.runtime.training.models import NotTrainable, character_model
from attnc.runtime.training.statistics import Estimate, estimate, paired, student
from click.testing import CliRunner, Result

TINY = {"d_model": 16, "heads": 2, "layers": 2}
DIMS = [f"--dim={name}={value}" for name, value in TINY.items()]
RECIPE = Recipe(steps=12, batch=8, length=16, lr=1e-2, every=4, windows=8)
TEXT = "the quick brown fox jumps over the lazy dog. " * 60


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tests run beside each other: threads that wait for each other would take the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def texts(*parts: str) -> Texts:
    return Texts(tuple(Path(str(n)) for n in range(len(parts))), parts)


def trainer(seed: int = 0, recipe: Recipe = RECIPE, **choices: str | float) -> Trainer:
    corpus = corpus_of(texts(TEXT), recipe.length)
    vocab = len(corpus.vocabulary)
    model = character_model("language_model", vocab, recipe.length, {**TINY, **choices}, seed)
    return Trainer(model, corpus, recipe, seed)


def finish(run: Trainer) -> list[tuple[float, float]]:
    return [(p.training, p.validation) for p in run.run() if p is not None]


def same_weights(one: Trainer, other: Trainer) -> bool:
    left, right = one.module.state_dict(), other.module.state_dict()
    return all(torch.equal(left[name], right[name]) for name in left)


# -- data -----------------------------------------------------------------------------------


def test_each_file_gives_its_last_tenth_to_validation() -> None:
    corpus = corpus_of(texts("a" * 90 + "b" * 10, "c" * 45 + "d" * 5), length=3)
    assert corpus.vocabulary.decode(corpus.training) == "a" * 90 + "c" * 45
    assert corpus.validation.tolist() == [UNKNOWN] * 15  # b and d do not occur in training


def test_the_vocabulary_knows_its_characters_and_one_for_all_others() -> None:
    vocabulary = Vocabulary("abé")
    assert len(vocabulary) == 4
    assert vocabulary.encode("béa!\U0001f600").tolist() == [2, 3, 1, UNKNOWN, UNKNOWN]
    assert vocabulary.decode([2, 3, 1, 0]) == "béa\ufffd"


def test_directories_are_read_in_order_and_what_is_no_text_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("beta")
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfal\r\npha")
    (tmp_path / "binary").write_bytes(b"\0\1")
    (tmp_path / "latin").write_bytes(b"\xe9t\xe9")
    (tmp_path / ".hidden").write_text("no")
    found = read_texts([tmp_path, tmp_path / "a.txt"])
    assert found.texts == ("al\npha", "beta")
    assert found.skipped == 2
    assert read_texts([tmp_path], limit=8).texts == ("al\npha", "be")


def test_batches_follow_from_seed_and_step_alone() -> None:
    tokens = torch.arange(1000)
    first = batch_at(tokens, 10, 4, seed=3, step=7)
    assert torch.equal(first, batch_at(tokens, 10, 4, seed=3, step=7))
    assert not torch.equal(first, batch_at(tokens, 10, 4, seed=3, step=8))
    assert not torch.equal(first, batch_at(tokens, 10, 4, seed=4, step=7))
    assert torch.equal(first[:, 1:], first[:, :-1] + 1)


def test_a_batch_may_be_the_whole_text() -> None:
    assert batch_at(torch.arange(11), 10, 1, seed=0, step=0).tolist() == [list(range(11))]


@pytest.mark.parametrize(("size", "count", "starts"), [(31, 9, [0, 10, 20]), (101, 3, [0, 30, 60])])
def test_validation_windows_are_fixed_and_do_not_overlap(
    size: int, count: int, starts: list[int]
) -> None:
    assert fixed_windows(torch.arange(size), 10, count)[:, 0].tolist() == starts


# -- runs -----------------------------------------------------------------------------------


def test_the_loss_decreases_on_a_tiny_text() -> None:
    run = trainer(recipe=Recipe(steps=60, batch=8, length=16, lr=1e-2, every=20))
    curve = [validation for _, validation in finish(run)]
    assert curve[-1] < 0.7 * curve[0]
    record = run.record()
    assert record.validation < record.unigram
    assert record.bits == pytest.approx(record.validation / math.log(2))
    assert record.peak_bytes >= record.base_bytes > 0


def test_the_same_seed_gives_the_same_numbers() -> None:
    one, other, third = trainer(1, drop=0.1), trainer(1, drop=0.1), trainer(2, drop=0.1)
    assert finish(one) == finish(other)
    assert same_weights(one, other)
    assert finish(third) != finish(one)


def test_a_run_leaves_generator_and_settings_as_they_were() -> None:
    before = torch.random.get_rng_state()
    finish(trainer(drop=0.1))
    assert torch.equal(before, torch.random.get_rng_state())
    assert not torch.are_deterministic_algorithms_enabled()


def test_gradients_of_table_reads_are_summed_in_a_fixed_order() -> None:
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(8, (32, 64), generator=generator)
    given = torch.randn(32, 64, 32, generator=generator)

    def gradient() -> torch.Tensor:
        table = torch.zeros(8, 32, requires_grad=True)
        with reproducible(0, 0):
            table[tokens].backward(given)
        assert table.grad is not None
        return table.grad

    first = gradient()
    assert all(torch.equal(gradient(), first) for _ in range(20))


def test_the_rate_warms_up_and_falls_to_a_tenth() -> None:
    recipe = Recipe(steps=100, lr=1.0)
    rates = [recipe.rate(step) for step in range(100)]
    assert rates[0] == 0.1
    assert max(rates) == rates[9] == 1.0
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    run = trainer()
    with torch.no_grad():
        run.module.get_parameter("embed").fill_(float("nan"))
    with pytest.raises(Diverged, match=r"became nan at step 1: try a smaller --lr"):
        run.advance()


def spans(cost: float) -> dict[str, str | float]:
    """Adaptive spans in every layer."""
    dims = {"span": 16, "ramp": 4, "cost": cost}
    inner = {
        f"{layer}.{name}": value for layer in ("first", "attention") for name, value in dims.items()
    }
    return {"first": "adaptive_span", "attention": "adaptive_span", **inner}


def test_losses_are_added_and_bounded_weights_projected() -> None:
    plain, costly = trainer(**spans(cost=0.0)), trainer(**spans(cost=10.0))
    heads = [name for name, _ in costly.module.named_parameters() if name.endswith(".z")]
    for run in (plain, costly):
        for name in heads:
            torch.nn.init.constant_(run.module.get_parameter(name), 0.5)
        run.advance()
    assert plain.module.losses().item() == 0
    assert costly.module.losses().item() == pytest.approx(2 * 10 * 16 * 0.5, rel=1e-3)
    assert costly.module.steps == 1
    for name in heads:
        torch.nn.init.constant_(costly.module.get_parameter(name), 0.01)
    finish(costly)
    for name in heads:
        assert torch.equal(costly.module.get_parameter(name), torch.zeros(2))  # not below 0


# -- checkpoints ----------------------------------------------------------------------------


def test_a_resumed_run_equals_one_that_did_not_stop(tmp_path: Path) -> None:
    spec, path = attnc.load("language_model"), tmp_path / "run.safetensors"
    whole, part = trainer(5, drop=0.1), trainer(5, drop=0.1)
    expected = finish(whole)
    for _ in range(6):
        part.advance()
    checkpoint.save(path, part, spec, {**TINY, "drop": 0.1})
    rest = trainer(5, drop=0.1)
    checkpoint.resume(rest, checkpoint.read(path))
    assert rest.progress.step == 6
    assert rest.module.steps == 6
    assert finish(rest)[-1][1] == expected[-1][1]
    assert same_weights(rest, whole)


def test_a_checkpoint_opens_as_the_trained_module(tmp_path: Path) -> None:
    run, path = trainer(), tmp_path / "run.safetensors"
    finish(run)
    checkpoint.save(path, run, attnc.load("language_model"), TINY)
    module, about = checkpoint.open_model(path)
    tokens = run.windows[:, :-1]
    assert torch.equal(module(tokens=tokens), run.module.eval()(tokens=tokens))
    assert about.vocabulary == run.corpus.vocabulary
    assert [item.name for item in tmp_path.iterdir()] == ["run.safetensors"]


def test_a_broken_checkpoint_is_refused(tmp_path: Path) -> None:
    run, path = trainer(), tmp_path / "run.safetensors"
    checkpoint.save(path, run, attnc.load("language_model"), TINY)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointMistake, match="broken"):
        checkpoint.read(path)
    with pytest.raises(CheckpointMistake, match="there is no checkpoint"):
        checkpoint.read(tmp_path / "nowhere")


def test_other_data_or_another_seed_cannot_be_resumed(tmp_path: Path) -> None:
    run, path = trainer(), tmp_path / "run.safetensors"
    checkpoint.save(path, run, attnc.load("language_model"), TINY)
    with pytest.raises(CheckpointMistake, match="seed 0, not 1"):
        checkpoint.resume(trainer(1), checkpoint.read(path))
    other = trainer()
    other.corpus = corpus_of(texts(TEXT + TEXT), RECIPE.length)
    object.__setattr__(other.corpus, "digest", "another")
    with pytest.raises(CheckpointMistake, match="the data has changed"):
        checkpoint.resume(other, checkpoint.read(path))


# -- statistics -----------------------------------------------------------------------------


def test_intervals_are_students() -> None:
    assert estimate([1.0, 2.0, 3.0]) == Estimate(2.0, pytest.approx(4.303 / math.sqrt(3)))
    assert estimate([1.0]).half is None
    assert student(60) == pytest.approx(2.000, abs=2e-3)
    gain = paired([1.0, 2.0, 3.1], [1.1, 2.1, 3.2])
    assert gain.is_significant
    assert gain.show(signed=True) == "-0.100 ± 0.000"


def test_steps_are_chosen_to_fit() -> None:
    assert contest.steps_within(1e6, [0.1, 0.1], 3, 500) == 500
    fitting = contest.steps_within(200, [0.02, 0.03, 0.1], 3, 500)
    assert 20 < fitting < 200 / (3 * 0.15)
    assert contest.steps_within(1, [1.0], 3, 500) == contest.FEWEST_STEPS


# -- the command ----------------------------------------------------------------------------


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def train(*words: str | Path) -> Result:
    return CliRunner().invoke(program, ["train", *map(str, words)], prog_name="attnc")


SHORT = ("--length", "16", "--batch", "4", "--steps", "6", "--every", "3")


def test_train_writes_a_run_that_can_go_on(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = train("language_model", "--data", text, *SHORT, *DIMS, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    (record,) = json.loads(done.stdout)["runs"]
    assert record["steps"] == 6
    assert [point["step"] for point in record["curve"]] == [3, 6]
    assert sorted(path.name for path in out.iterdir()) == [
        "log.jsonl",
        "plan.json",
        "record.json",
        "seed-0.safetensors",
    ]
    longer = train("--resume", out, "--steps", "9")
    assert longer.exit_code == 0, longer.output
    assert "9 steps" in longer.stdout
    lines = (out / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [3, 6, 9]
    again = train("language_model", "--data", text, *SHORT, *DIMS, "--out", out)
    assert again.exit_code == 1
    assert "holds a run: continue it with --resume" in again.stderr


def test_an_interrupted_run_is_saved(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Trainer.advance

    def interrupted(self: Trainer) -> float:
        if self.progress.step == 4:
            signal.raise_signal(signal.SIGINT)
        return advance(self)

    out = tmp_path / "run"
    monkeypatch.setattr(Trainer, "advance", interrupted)
    stopped = train("language_model", "--data", text, *SHORT, *DIMS, "--out", out)
    assert stopped.exit_code == 130
    assert "stopped after step 5 of seed 0; `attnc train --resume" in stopped.stderr
    assert checkpoint.read(out / "seed-0.safetensors").progress.step == 5


def test_several_seeds_are_summed_up(text: Path) -> None:
    done = train("language_model", "--data", text, *SHORT, *DIMS, "--seed", "3", "--seed", "5")
    assert done.exit_code == 0, done.output
    assert "95 % t-interval over 2 seeds" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["language_model"], "give the text: --data PATH"),
        (["--data", "TEXT"], "name a MODEL_SPEC"),
        (["language_model", "--data", "nowhere"], "there is no file or directory `/"),
        (["language_model", "--data", "EMPTY"], "there are no files, or only empty ones"),
        (["language_model", "--data", "BINARY"], "1 file(s) are not UTF-8 text"),
        (["language_model", "--data", "TEXT", "--length", "3000"], "need at least 3001"),
        (["languag_model", "--data", "TEXT"], "did you mean `language_model`?"),
        (["language_model", "--data", "TEXT", "--dim", "d_modle=8"], "did you mean `d_model`?"),
        (["language_model", "--data", "TEXT", "--set", "attention"], "of the form name=spec"),
        (["language_model", "--data", "TEXT", "--set", "attention=softmax"], "sees the future"),
        (["language_model", "--data", "TEXT", "--dim", "vocab=9"], "leave it out"),
        (["language_model", "--data", "TEXT", "--dim", "max_length=8"], "leaves no room"),
        (["causal_additive", "--data", "TEXT"], "language_model --set attention=causal_additive"),
        (["encoder_decoder", "--data", "TEXT"], "needs more than `tokens`: source, context"),
        (["language_model", "--data", "TEXT", "--seed", "1", "--seeds", "2"], "not both"),
        (["--resume", "nowhere"], "`nowhere` holds no run"),
        (["--resume", "nowhere", "--lr", "1"], "it takes --steps, not `lr`"),
    ],
)
def test_a_mistake_is_told(words: list[str], message: str, text: Path, tmp_path: Path) -> None:
    places = {"TEXT": text, "EMPTY": tmp_path / "empty", "BINARY": tmp_path / "binary"}
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary").write_bytes(b"\0\0")
    out = [] if "--resume" in words else ["--out", tmp_path / "out"]
    done = train(*(places.get(word, word) for word in words), *out)
    assert done.exit_code in (1, 2)
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_a_model_that_sees_the_future_is_refused() -> None:
    text = attnc.load("language_model").text.replace("causality: strict\n", "")
    with pytest.raises(NotTrainable, match="sees the future"):
        character_model(attnc.loads(text), 30, 8, {**TINY, "attention": "softmax"})


@pytest.mark.slow
def test_the_demo_runs_in_a_fresh_directory_without_a_terminal(tmp_path: Path) -> None:
    words = ["demo", "--seeds", "1", "--steps", "20", "--budget", "60", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "attnc", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert "Neural Attention" in shown
    assert "nothing may be concluded about which is better" in shown
    names = {path.name for path in (tmp_path / "demo_out").iterdir()}
    assert {"learning_curves.png", "weights.png", "neural_attention.png", "runs"} <= names
