"""`attnc plot` and what notebooks show: the pictures are of the arrays that the modules compute."""

from __future__ import annotations

from pathlib import Path
from xml.dom import minidom

import attnc
import pytest
import torch
from attnc.runtime.pictures import Mask, NoPicture, distinct, draw, mask_of
from attnc.runtime.thumbnails import cells
from command_line import run

BAND = """\
sliding_window: mask of heads
rows query (x), columns key (context)
every head
█▄······
·▀█▄····
···▀█▄··
·····▀█▄
"""


def test_a_mask_is_drawn_in_the_terminal() -> None:
    shown = run(
        "plot", "sliding_window", "--length", "8", "--dim", "left=1", "--dim", "right=0"
    ).stdout
    assert "\n".join(line.rstrip() for line in shown.splitlines()) + "\n" == BAND


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_is_written(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"alibi.{suffix}"
    options = ["--what", "prior", "--length", "16", "-o", str(path)]
    result = run("plot", "alibi", "--dim", "d_model=32", "--dim", "heads=2", *options)
    assert result.stdout == ""
    assert path.stat().st_size > 1000


def test_a_suffix_that_is_no_picture_is_a_wrong_call() -> None:
    assert ".png, .svg or .pdf" in run("plot", "alibi", "-o", "a.txt", code=2).stderr


def test_a_model_shows_an_attend_inside() -> None:
    options = ["--dim", "d_model=16", "--dim", "heads=2", "--dim", "layers=2", "--length", "4"]
    assert "mask of body.0.attended.heads" in run("plot", "language_model", *options).stdout
    wanted = ["--attend", "body.1.attended.heads"]
    assert "mask of body.1.attended.heads" in run("plot", "encoder", *options, *wanted).stdout


def test_cross_attention_gets_a_memory() -> None:
    options = ["--dim", "d_model=16", "--dim", "heads=2", "--length", "4"]
    assert "████" in run("plot", "cross_attention", *options).stdout


def test_several_key_sets_are_no_one_picture() -> None:
    assert "several key sets" in run("plot", "memory_compressed", code=1).stderr


def test_an_unknown_attend_is_answered_with_those_there_are() -> None:
    assert "there are local, wide" in run("plot", "longformer", "--attend", "x", code=1).stderr


def test_the_prior_of_alibi_is_its_penalty() -> None:
    module = attnc.compile("alibi", d_model=32, heads=2)
    prior = draw(module, "prior", 6).array
    places = torch.arange(6)
    distance = (places[:, None] - places[None, :]).abs().float()
    assert torch.allclose(prior[0] / prior[0][0, 1], distance, atol=1e-5)


def test_a_score_without_prior_says_so() -> None:
    module = attnc.compile("softmax", d_model=16, heads=2)
    assert "no prior" in draw(module, "prior", 6).note
    assert "no prior" in run("plot", "softmax", "--what", "prior", "--length", "4").stderr


def test_weights_sum_to_one() -> None:
    module = attnc.compile("causal_softmax", d_model=16, heads=2)
    weights = draw(module, "weights", 6).array
    assert torch.allclose(weights.sum(-1), torch.ones(2, 6), atol=1e-5)


def test_equal_heads_share_a_panel() -> None:
    module = attnc.compile("sparse_fixed", d_model=32, heads=4, stride=4)
    names = [name for name, _ in distinct(draw(module, "mask", 16).array)]
    assert names == ["every head"] or names[0].startswith("head")


def test_a_mask_shows_itself_as_svg() -> None:
    mask = mask_of(attnc.compile("causal", d_model=16, heads=2), 8)
    assert repr(mask) == "Mask(causal, heads: 2 heads, 8 x 8, 56.2% allowed)"
    picture = minidom.parseString(mask._repr_svg_())
    assert len(picture.getElementsByTagName("rect")) == 1 + 8


def test_a_spec_shows_itself_in_notebooks() -> None:
    page = attnc.load("causal_additive")._repr_html_()
    assert "tanh(q[h,i] + k[h,j] + c[h])" in page
    assert "<svg" in page
    assert "<svg" not in attnc.load("sinusoidal")._repr_html_()


def test_names_in_pictures_are_escaped() -> None:
    mask = Mask("<b>", torch.ones(1, 2, 2, dtype=torch.bool))
    assert "<b>" not in mask._repr_html_()


def test_there_is_nothing_to_draw_of_positions() -> None:
    with pytest.raises(NoPicture, match="has no attend"):
        draw(attnc.compile("sinusoidal"), "mask", 4)


def test_a_long_mask_is_drawn_by_blocks() -> None:
    small = ["--dim", "d_model=16", "--dim", "heads=2"]
    shown = run("plot", "sliding_window", "--length", "1000000", *small).stdout
    lines = [line.rstrip() for line in shown.splitlines()]
    assert lines[0] == "sliding_window: blocks of the mask of heads"
    assert lines[1].endswith("a cell is 15,744 x 15,744 tokens")
    assert lines[2].startswith("░░░·")
    assert lines[-2] == "█ full, ▓▒░ in part, · empty"
    assert lines[-1].startswith("1,000,000 x 1,000,000 in blocks of 128 x 128: 7,813 full, ")
    assert len(lines) == 2 + 32 + 2


def test_blocks_of_each_head(tmp_path: Path) -> None:
    small = ["--dim", "d_model=16", "--dim", "heads=2", "--blocks", "--length", "512"]
    shown = run("plot", "bigbird", *small).stdout
    assert "head 0" in shown
    assert "head 1" in shown
    path = tmp_path / "blocks.png"
    assert "16 x 16" in run("plot", "causal", *small, "-o", str(path)).stderr
    assert path.stat().st_size > 1000


def test_only_masks_are_drawn_by_blocks() -> None:
    long = ["--length", "5000", "--what", "scores"]
    assert "only masks" in run("plot", "softmax", *long, code=2).stderr
    small = ["--blocks", "--dim", "d_model=16", "--dim", "heads=2"]
    assert "several key sets" in run("plot", "memory_compressed", *small, code=1).stderr


def test_cells_count_the_blocks_below_them() -> None:
    module = attnc.compile("causal", d_model=16, heads=2)
    runs = module.sparsity(100, block=(4, 4))["heads"].blocks
    made, cell = cells(runs, 7)
    assert cell == (16, 16)
    share = runs.classes()[0].float() / 2
    for row in range(7):
        for column in range(7):
            part = share[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            assert torch.isclose(made[0, row, column], part.mean())
