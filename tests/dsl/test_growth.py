"""What specs claim to cost, as numbers."""

from __future__ import annotations

import attnc
import pytest
from attnc.dsl.growth import growth


@pytest.mark.parametrize(("form", "claimed"), [("full", 700.0), ("simple", 107.0)])
def test_a_claim_may_depend_on_a_choice(form: str, claimed: float) -> None:
    module = attnc.compile("aft", d_model=16, form=form)
    assert growth(module.spec, "time", 100, 7) == claimed
