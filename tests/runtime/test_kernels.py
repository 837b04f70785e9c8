"""Generated kernels against the references: in float32 as accurate as the plain formula."""

from __future__ import annotations

import attnc
import pytest
from accuracy import is_accurate
from agreement import compiled, setting
from attnc.runtime import calls
from attnc.runtime.lengths import Work
from attnc.runtime.module import LoweringRefused
from references import CASES, Case

#: specs whose kernels are built in the usual run, of every kind of leaf, term, mask and weight
USUAL = frozenset(
    "softmax causal_softmax sliding_window alibi t5_bias soft_cap additive gaussian documents "
    "grouped_query longformer kerple forgetting rope disagreement sinks sigmoid "
    "star_transformer deberta adaptive_span linear_transformer favor_plus random_blocks shaw "
    "swin-wide differential".split()
)

#: specs that invert a matrix by steps where the reference eliminates: the dense form, too, errs twice as
#: much in sums of its rows, whose gradient is that of a value's bias
INVERT_BY_STEPS = frozenset({"csalr"})


def lowering_of(case: Case) -> str:
    """By what attends of a case have kernels: `cpu` where all of them do, `auto` where some do."""
    try:
        module = compiled(case, "cpu")
        module.prepare()
    except LoweringRefused:
        module = compiled(case, "auto")
    specs = (item for item in module.modules() if isinstance(item, attnc.Module))
    choices = (choice for item in specs for choice in item.choices(is_fused=True))
    has_kernel = any(choice.lowering == "cpu" for choice in choices)
    return module.options.lowering if has_kernel else ""


def marked(case: Case) -> object:
    marks = () if case.name in USUAL else (pytest.mark.slow,)
    return pytest.param(case, id=case.name, marks=marks)


@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_float32_is_as_accurate_as_the_reference(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowering = lowering_of(case)
    if not lowering:
        pytest.skip("no attend has a kernel")
    monkeypatch.setattr(Work, "is_fused", lambda *sizes: True)  # in short calls, too
    monkeypatch.setattr(calls, "key", lambda *call: None)  # also those met before
    gradients_within = (3.0, 8.0) if case.name in INVERT_BY_STEPS else (2.0, 8.0)
    for shape in case.shapes:
        is_accurate(setting(case, shape, lowering), gradients_within)


def test_large_layers_of_pairs_are_left_to_other_lowerings() -> None:
    dims = {"d_model": 32, "heads": 2, "d_down": 128}
    with pytest.raises(LoweringRefused, match="large matrix"):
        attnc.compile("neural_attention_code", lowering="cpu", **dims).prepare()
    attnc.compile("neural_attention_code", **dims).prepare()
