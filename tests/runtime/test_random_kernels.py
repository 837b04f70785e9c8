"""Generated kernels of random specs as accurate as the dense form; specs that once were not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import fuzz.campaign
import pytest
import torch
from attnc.compiler.matching.fused import OPERATORS
from attnc.dsl import api
from attnc.dsl.core import Attend, Map, walk
from attnc.dsl.source import Source
from compilers import needs_compiler
from fuzz.compare import OVERWRITTEN, Limit, Run, Verdict, judged, verdicts
from fuzz.numbers import PAIRS
from fuzz.specs import NORMALIZERS, STRIDE, Drawn, Part, drawn

#: seeds of the usual run, and how many of them have no kernel at most
SEEDS, CHUNK, REFUSED = 100, 25, 0.04
FORMS = {"all", "cpu"}


def spec(
    score: str,
    mask: str = "true",
    normalize: str = "softmax(s, j)",
    lse: bool = False,
    value: str = "v",
    **more: int,
) -> Drawn:
    """A spec of one attend, at sizes that no block divides."""
    sizes = {"batch": 2, "queries": 27, "keys": 70, **more}
    dims = {"d_model": 10, "heads": 2, "kv_heads": 1, "d_head": 5, "d_value": 5}
    shared = {"q": "h, d_head", "k": "g, d_head", "v": "g, d_value", "g": "h"}
    part = Part(score, mask, normalize, lse, value)
    return Drawn(0, (part,), apart=True, dims=dims, shared=shared, **sizes)


#: scores of matrices of a query, of a key and of both, and what is best of a few numbers
MATRICES = (
    "max(rows_of_q @ k2, over=last)",
    "sum(max(rows_of_q @ transpose(rows_of_k), over=last), over=last)",
    "max(max(rows_of_k @ transpose(rows_of_q), over=last), over=last)",
    "max(sum(tanh(rows_of_q) * (rows_of_q - 1), over=last) * by_key, over=last)",
    "dot(rows_of_q, tanh(outer(rows_of_q @ k2, k2)))",
    "dot(rows_of_q, rows_of_q) * by_key + dot(outer(q2, k2), outer(k2, q2))",
    "sum(sum(tanh(outer(q2, k2)), over=last), over=last)",
    "dot(of_second, tanh(second @ (first @ (q * sum(rows_of_q @ k2)))))",
    "dot(of_second, relu(q2 * (rows_of_q @ k2)[1]))",
    "sum(joined @ concat(k2, tanh(rows_of_k @ q2)[0] * q2))",
    "logsumexp(rows_of_k @ q2, over=last)",
    "mean(rows_of_k @ q2, over=last, where=rows_of_k @ q2 > by_query)",
    "real(count(rows_of_k @ q2 > 0.2, over=last)) * by_query",
    "real(argmax(rows_of_k @ q2)) + real(argmin(q * k, where=q > 0)) / 5",
    "real(argmin(by_e * by_query, over=e)) * by_key",
    "sum(rms_norm(rows_of_k @ q2, affine=false, eps=0.1)) + dot(softmax(rows_of_q @ k2, last), rows_of_q @ k2)",
    "real(sum(where(q > k, 2, -1), over=last) + max(where(q > k, i % 3, 1), over=last))",
    "mean(outer(q2, k2), where=outer(q2, k2) < by_head) + real(count(outer(q2, k2) < 0.3))",
    "where(any(outer(q2, k2) > 2) or all(outer(q2, k2) < 1), by_query, by_key)",
    "max(outer(q2, k2)) + min(relu(rows_of_q @ transpose(rows_of_k)))",
)
GROUPS = {"q": "h, d_head", "k": "g, d_head", "v": "g, d_value", "g": "g"}
#: what a failure taught, by name
ONCE_WRONG = {
    "the only key of a steep row": spec("3000 * dot(q - k, k - q)", "j == i + 20"),
    "nothing to the power 0": spec("(dot(q, k) * real(i % 2)) ** 0", normalize="s"),
    "nothing to powers of pairs": spec(
        "(dot(q, k) * real(i % 2)) ** real((i - j) % 2)", normalize="s"
    ),
    "no examples": spec("dot(q, k)", batch=0),
    "no queries": spec("dot(q, k)", queries=0, lse=True),
    "no keys": spec("dot(q, k)", keys=0, lse=True),
    "no keys, no softmax": spec("dot(q, k)", keys=0, normalize="sigmoid(s)"),
    "one pair": spec("dot(q, k)", batch=1, queries=1, keys=1, lse=True),
    "rows without keys": spec("dot(q, k)", "i % 3 == 1 and j > 60", lse=True),
    "no pair at all": spec("dot(q, k)", "i > 100", lse=True),
    "absent by its score": spec("dot(q, k) + log(real((i + j) % 3))", lse=True),
    "rows absent by their scores": spec("dot(q, k) + log(real(i % 2))", lse=True),
    "a logarithm of nothing": spec("log(relu(dot(q, k)))", lse=True),
    "a root of nothing": spec("sqrt(relu(dot(q, k)))"),
    "learned bounds": spec("clip(dot(q, k), by_key, by_key + 1)"),
    "bounds that cross": spec("clip(0.1 * i, dot(q, k), by_query)"),
    "learned bounds of features": spec("sum(clip(q, k, 1 + k))"),
    "remainders of reals": spec("dot(q, k) % 1.5 + dot(q, k) % -by_head + sum((q - k) % 1)"),
    "remainders of a number": spec("1.5 % (abs(dot(q, k)) + 0.3)"),
    "quotients of reals": spec(
        "dot(q, k) + real(i - j) // (0.7 + h) + ceil_div(real(j - i), 2.3 + h)"
    ),
    "a mask of real remainders": spec("dot(q, k)", "real(i - j) / 9 % (1.5 + h) > 1.2"),
    "a large power of an int": spec("real((i - j) ** 9) / 1e12 + dot(q, k)"),
    "entries of tables inside of sums": spec(
        "dot(u, tanh(q * rel[clip(i - j + 4, 0, 8)] + k * k2[(i * j) % 3]))"
        " + sum(relu(first @ (q * flat[(i - j) % wide] + k))) / 3 + rel[clip(i - j + 4, 0, 8)]"
    ),
    "means over features": spec("mean((q - k) ** 2) + mean(tanh(q + k))"),
    "ints and bools as vectors": spec(
        "sum(where(q > 0, q * k, u)) + sum(where(k > 0, q, real(round(2 * k) % 3)))"
        " + sum(where(u > 0, real(int(3 * q) * int(2 * k)), range(d_head) * k)) / 9"
    ),
    "sums inside of sums": spec(
        "sum(tanh((q + k) * tanh(sum(relu(u * k + q * dot(q, k)))))) * dot(q, k)"
        " + dot(u, tanh(q * (i - j) * sum(relu(k * dot(q, k))) / 9 + by_query))"
    ),
    "layers of layers": spec(
        "sum(tanh(first @ tanh((q + k) * sum(tanh(first @ (q * k))))))"
        " + dot(u, sigmoid(q * k) * tanh(sum(tanh(first @ (q * k)))))"
    ),
    "sums as they are inside of layers": spec("sum(tanh(first @ ((q + k) * dot(q, k))))"),
    "bools and ints made of sums": spec(
        "sum(where(dot(q, k) > 0, tanh(q + k), k))"
        " + sum(where(any(q > k + 0.3, over=last), q, where(int(dot(q, k) * 3) > int(3 * q), q, k)))"
    ),
    "extremes of nothing": spec("max(q + k, over=last, where=q > k + 1)", lse=True),
    "extremes of what is absent": spec(
        "tanh(max(log(relu(q * k)), over=last)) + tanh(max(by_e * by_key, over=e, where=i > j + e))"
        " + tanh(logsumexp(q * k, over=last, where=q > k + 1))",
        normalize="s",
    ),
    "extremes of fractions": replace(
        spec("max(sigmoid(q + k), over=last) + min(tanh(q - k), over=last) * dot(u, tanh(q + k))"),
        dims={"d_model": 32, "heads": 2, "kv_heads": 1, "d_head": 16, "d_value": 16},
    ),
    "elu far below 0": spec("9 * elu(-9 - abs(dot(q, k)))", normalize="s"),
    "extremes of ints": spec("real(max(label + j * (e + 1), over=e) % 7) * 0.3 + dot(q, k)"),
    "extremes over features": spec(
        "max(q + k, over=last) - min(q * k, over=last, where=u > 0) * dot(q, k)"
        " + max(first @ (q * k), over=last) + max(round(q) * round(k), over=last)"
    ),
    "extremes over places": spec(
        "max(by_e * by_key, over=e) - min(by_e * by_key, over=e, where=e > 0 or i > j)"
    ),
    "norms of pairs": spec(
        "dot(u, rms_norm(q + k, as=one)) + dot(u, layer_norm(q * k, as=other)) + dot(u, unit(q - k))"
    ),
    "reductions over features": spec(
        "logsumexp(q * k, over=last) + mean(q * k, over=last, where=q > k) + sum(q, over=last, where=k > u)"
        " + real(count(q > k, over=last)) * dot(q, k) + dot(softmax(q + k, last), u)",
        "any(q > k + 0.3, over=last) or all(q > k - 2, over=last)",
    ),
    "numbers of vectors of pairs": spec("(q * k)[j % 5] + tanh(q + k)[i % 5] * dot(q, k)"),
    "joined vectors": spec(
        "dot(concat(q, k), concat(k, q)) + dot(tanh(concat(q * k, q + k)), concat(u, u))"
        " + sum(tanh(concat(q, k) * dot(q, k))) + max(concat(q, k * q), over=last)"
        " + dot(joined @ tanh(concat(q2 * k2, k2)), joined @ concat(q2, k2))"
        " + sum(tanh(concat(q, k2) + concat(q2, k)))"
    ),
    "keys as values": spec("dot(q, k) + dot(u, tanh(q + k))", value="k"),
    "numbers as values, in score and mask": spec(
        "dot(q, k) * by_key", "by_key > 0", value="by_key"
    ),
    "absent, then weighed": spec("log(relu(dot(q, k)))", normalize="tanh(s) + 2"),
    "absent, then bounded": spec("log(relu(dot(q, k)))", normalize="softmax(tanh(s), j)"),
    "absent, then bounded, in a softmax that others read": spec(
        "log(relu(dot(q, k)))", normalize="softmax(2 * softmax(tanh(s), j), j)"
    ),
    "absent, by its own weight": spec("log(relu(dot(q, k)))", normalize="s"),
    "bools that are compared": spec("dot(q, k)", "(i > j) == (j % 2 == 0)"),
    "a prior of groups of heads": replace(
        spec("dot(q, k)", normalize="by_key * softmax(s, j)"), shared=GROUPS
    ),
    "a long sum over distances": spec(
        "tanh(by_head * (i - j) / 9) * dot(q, k)", normalize="exp(-abs(s))", queries=255, keys=255
    ),
    "a sum over places of distances": spec("sum(by_e * (j - i), over=e)", normalize="s"),
    "reductions over places, where something holds": spec(
        "dot(q, k) * mean(by_e * by_key, over=e, where=(i + e) % 3 > j % 3)"
        " + real(count(by_e > by_query, over=e, where=i % 4 >= e))",
        "any(i - j == 3 * e, over=e, where=j % 4 != e) or all(i * e > j, over=e, where=i % 4 > e)",
    ),
    "values from a table": spec(
        "dot(q, k)", "j != i + 20", value="v + of_place[clip(i - j, -4, 4) + 4]", lse=True
    ),
    "values from a table, without a softmax": spec(
        "dot(q, k)", normalize="sigmoid(s)", value="of_place[(i - j) % wide] + tanh(v)"
    ),
    "values from a table, with a prior": spec(
        "dot(q, k)", normalize="by_head * softmax(tanh(s), j)", value="v + of_place[(i * j) % wide]"
    ),
    "a log-sum-exp beside other weights": spec(
        "dot(q, k)", "j != i + 20", normalize="relu(s) ** 2", lse=True
    ),
    "a log-sum-exp of scores, beside the softmax of others": spec(
        "log(relu(dot(q, k)))", normalize="softmax(tanh(s), j)", lse=True
    ),
    "any of what is alike": spec("dot(q, k)", "any((i + e) % 1 == j % 3, over=e) or i == j"),
    "an array as a table and as vectors": spec(
        "0.3 * k2[(i * j) % 3] * dot(q2, k2) + q2[j % 3] * sum(tanh(q2 + k2))"
    ),
    "a table that weights read, and scores as vectors": spec(
        "dot(q2, k2) + 0.3", normalize="sigmoid(k2[(i * j) % 3]) * softmax(s, j)"
    ),
    "values by groups of heads": replace(
        spec("sum(gelu(q + k))", value="by_key"), shared=GROUPS | {"q": "d_head"}
    ),
    "layers by groups of heads": replace(
        spec("sum(tanh(first @ tanh(q + k))) ** 2 + by_head"), shared=GROUPS | {"q": "d_head"}
    ),
    "scores far apart": spec("1e4 * tanh(dot(q, k))", lse=True),
    "a learned slope": spec("leaky_relu(dot(q, k), by_key) + dot(u, leaky_relu(q + k, u))"),
    "one key, of which only lse has a gradient": spec(
        "dot(q, k)", "i == 0 and j == 0", queries=2, keys=2, lse=True, batch=1
    ),
}


@pytest.fixture(autouse=True)
def hasty_builds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Kernels built fast, and kept by nobody."""
    monkeypatch.setenv("ATTNC_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("ATTNC_CXX", str(fuzz.campaign.HASTY))


@needs_compiler
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_random_specs_are_as_accurate_as_the_dense_form(first: int) -> None:
    # tiles have tests of their own: here beside every other chunk
    found = verdicts(range(first, first + CHUNK), ("cpu", "tiled") if first % 50 else ("cpu",))
    assert [verdict for verdict in found if verdict.failed] == []
    assert sum(not verdict.refused.keys().isdisjoint(FORMS) for verdict in found) <= REFUSED * CHUNK


@needs_compiler
def test_what_once_was_wrong_is_right() -> None:
    found = zip(ONCE_WRONG, judged(list(ONCE_WRONG.values())), strict=True)
    assert {name: verdict for name, verdict in found if verdict.failed or verdict.refused} == {}


@needs_compiler
def test_matrices_of_pairs_have_kernels() -> None:
    found = zip(MATRICES, judged([spec(score) for score in MATRICES]), strict=True)
    assert {name: verdict for name, verdict in found if verdict.failed or verdict.refused} == {}


@pytest.mark.parametrize(
    ("normalize", "value"),
    [("softmax(s, j)", "k"), *((text, "v") for text in dict.fromkeys(NORMALIZERS))],
)
def test_what_stands_for_cancellation_is_a_spec(normalize: str, value: str) -> None:
    item = replace(spec("dot(q, k)", normalize=normalize, value=value), noise=1e-7)
    api.check(source=Source("drawn", item.text), dims=item.dims).report.raise_errors()


@pytest.mark.parametrize(("error", "is_excused"), [(2e-5, True), (1e-3, False)])
def test_inductor_may_round_sums_that_cancel_and_no_more(error: float, is_excused: bool) -> None:
    item = drawn(300025)
    run = Run(replace(item, parts=(Part("dot(q, k)", "true", "softmax(s, j)"),)), ())
    limits = [Limit(truth) for truth in run.by(run.plain, run.leaves, torch.float64)]
    run.widen(limits)
    place = run.names.index("w:by_head")
    made = limits[place].truth + error
    assert limits[place].excess(made)
    assert (run.widened_by_chains(limits)[place].excess(made) == "") == is_excused


@pytest.mark.parametrize(("place", "is_wrong"), [("x1 + x1_inner", True), ("x1 + x0_inner", False)])
def test_lanes_that_inductor_stores_in_one_place_are_seen(place: str, is_wrong: bool) -> None:
    code = f"""for (long x0_inner = 0; x0_inner < static_cast<int64_t>(16); x0_inner++)
    {{
        local_buffer_data_0[static_cast<int64_t>({place})] = tmpbuf[x0_inner];
    }}"""
    assert bool(OVERWRITTEN.search(code)) == is_wrong


def test_a_failure_is_made_small_as_the_same_failure() -> None:
    def kind(failed: str) -> str:
        return Verdict(0, failed=failed).kind

    cpu = kind("Mismatch: cpu, result: rms 1 beside 2, most 3 beside 4; cpu, w:u: rms 1 beside 2")
    assert cpu == kind("Mismatch: cpu, x: rms 5 beside 6, most 7 beside 8")
    assert cpu != kind("Mismatch: tiled, x: rms 5 beside 6, most 7 beside 8")
    early = kind("SpecError: drawn:3:4: error[ATT204]: the expression ends too early\n 3 | ...")
    assert early == kind("SpecError: drawn:5:6: error[ATT204]: the expression ends too early")
    assert early != kind("SpecError: drawn:3:4: error[ATT204]: unexpected `)`")


def operators_of(item: Drawn) -> set[str]:
    """The operators of the attends of a spec."""
    spec = api.check(source=Source("drawn", item.text), dims=item.dims).spec
    assert spec is not None
    attends = [node for node in walk(*spec.outputs.values()) if isinstance(node, Attend)]
    return {node.op for node in walk(*attends) if isinstance(node, Map)}


def test_every_operator_of_kernels_is_drawn() -> None:
    found = set[str]().union(*(operators_of(drawn(seed)) for seed in range(SEEDS)))
    assert found >= OPERATORS


def test_every_pair_of_operations_is_drawn() -> None:
    assert len({place * STRIDE % PAIRS for place in range(PAIRS)}) == PAIRS
