"""One random spec in float32 by its kernels, beside the dense form, judged against float64."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import attnc
import torch
from attnc.runtime.module import LoweringRefused, Module
from attnc.runtime.oracle import evaluate
from torch import Tensor

from .specs import INPUTS, Drawn, drawn
from .together import Together

#: errors against float64, in units of those of the dense form in float32: rms, and the largest
RMS, MOST = 8.0, 24.0
#: errors that are never blamed, in units in the last place of the rms
ULPS = 4.0
#: how often the dense form is run on inputs that differ by rounding, to see what that does
WIGGLES = 6
ORACLE = 40 * 40


class Mismatch(AssertionError):
    """Two lowerings differ by more than rounding explains."""


class OutOfRange(Exception):
    """The plain formula is not finite in float32."""


@dataclass
class Run:
    """A spec in two lowerings, with the same weights."""

    item: Drawn
    lowering: str = "cpu"
    plain: Module = field(init=False)
    made: Module = field(init=False)
    leaves: dict[str, Tensor] = field(init=False)
    call: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        spec = attnc.loads(self.item.text)
        self.plain = attnc.compile(spec, lowering="dense", **self.item.dims).eval()
        self.made = attnc.compile(spec, lowering=self.lowering, **self.item.dims).eval()
        self.made.prepare()
        generator = torch.Generator().manual_seed(self.item.seed)
        self.leaves, self.call = {}, {}
        for name, weight in self.plain.named_parameters():
            wide = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            bound = max(1, weight.shape[-1] if weight.dim() == 2 and "." in name else 1)
            self.leaves[f"w:{name}"] = wide * bound**-0.5
        for name, value in self.item.call().items():
            is_real = isinstance(value, Tensor) and value.is_floating_point()
            (self.leaves if is_real else self.call)[name] = value

    def by(self, module: Module, leaves: dict[str, Tensor], dtype: torch.dtype) -> list[Tensor]:
        """The result and the gradients of all leaves."""
        given = {name: leaf.detach().to(dtype).requires_grad_() for name, leaf in leaves.items()}
        weights = {name[2:]: leaf for name, leaf in given.items() if name.startswith("w:")}
        inputs = {name: leaf for name, leaf in given.items() if not name.startswith("w:")}
        module.to(dtype)
        made = torch.func.functional_call(module, weights, (), {**inputs, **self.call})
        if not made.requires_grad:
            return [made]
        ways = torch.randn(
            made.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64
        )
        total = (made.double() * ways).sum()
        grads = torch.autograd.grad(
            total, list(given.values()), allow_unused=True, materialize_grads=True
        )
        return [made.detach(), *grads]

    @property
    def names(self) -> list[str]:
        return ["result", *self.leaves]

    def collect(self) -> None:
        """Run the kernels' calls for what they build."""
        self.by(self.made, self.leaves, torch.float32)

    def check(self) -> None:
        """Compare results and gradients.

        Raises:
            Mismatch: with the names of what differs.
        """
        exact = self.by(self.plain, self.leaves, torch.float64)
        ours = self.by(self.made, self.leaves, torch.float32)
        limits = [Limit(truth) for truth in exact]
        self._widen(limits, self.leaves)
        if not all(limit.is_finite for limit in limits):
            raise OutOfRange
        found = self._mistakes(limits, ours)
        if found:
            for place in range(WIGGLES):
                self._widen(limits, self._wiggled(place))
            found = self._mistakes(limits, ours)
        if found:
            raise Mismatch("; ".join(found))

    def _widen(self, limits: Sequence[Limit], leaves: dict[str, Tensor]) -> None:
        for limit, made in zip(limits, self.by(self.plain, leaves, torch.float32), strict=True):
            limit.widen(made)

    def _wiggled(self, place: int) -> dict[str, Tensor]:
        """The leaves, off by about their rounding."""
        generator = torch.Generator().manual_seed(place)
        by = 1e-7
        return {
            name: leaf
            * (1 + by * torch.randn(leaf.shape, generator=generator, dtype=torch.float64))
            for name, leaf in self.leaves.items()
        }

    def _mistakes(self, limits: Sequence[Limit], ours: Sequence[Tensor]) -> list[str]:
        found = zip(self.names, limits, ours, strict=False)
        return [f"{name}: {said}" for name, limit, made in found if (said := limit.excess(made))]

    def check_oracle(self) -> None:
        """Compare the dense form with the oracle, in float64."""
        weights = {n[2:]: leaf for n, leaf in self.leaves.items() if n.startswith("w:")}
        given = {n: leaf for n, leaf in self.leaves.items() if not n.startswith("w:")}
        given |= {name: self.call[name] for name in INPUTS if name in self.call}
        options = {name: value for name, value in self.call.items() if name not in INPUTS}
        true = evaluate(self.plain.spec, weights, given, **options)["x"]
        made = self.by(self.plain, self.leaves, torch.float64)[0]
        torch.testing.assert_close(made, true, rtol=1e-7, atol=1e-7)


class Limit:
    """How far off the dense form is in float32."""

    def __init__(self, truth: Tensor) -> None:
        self.truth = truth
        size = truth.square().mean().sqrt() if truth.numel() else truth.sum()
        self.is_number = bool(size > 1e-12)
        self.floor = ULPS * torch.finfo(torch.float32).eps * size + 1e-9
        self.rms = self.most = truth.new_zeros(())

    def widen(self, made: Tensor) -> None:
        rms, most = _errors(made, self.truth)
        self.rms, self.most = torch.maximum(self.rms, rms), torch.maximum(self.most, most)

    @property
    def is_finite(self) -> bool:
        return bool(self.rms.isfinite())

    def excess(self, made: Tensor) -> str:
        """By how much something is too far off; empty where it is not."""
        rms, most = _errors(made, self.truth)
        if made.shape != self.truth.shape:
            return f"has shape {tuple(made.shape)}, not {tuple(self.truth.shape)}"
        if torch.equal(made.isfinite(), self.truth.isfinite()):
            # zero in exact arithmetic, like a key's bias under a softmax, is noise alone
            factor = RMS if self.is_number else MOST
            near = rms <= factor * self.rms + self.floor
            if near and most <= MOST * self.most + 8 * self.floor:
                return ""
        return f"rms {rms:.3g} beside {self.rms:.3g}, most {most:.3g} beside {self.most:.3g}"


def _errors(made: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    if not truth.numel() or made.shape != truth.shape:
        return truth.new_zeros(()), truth.new_zeros(())
    off = torch.where(made.double() == truth, 0, made.double() - truth)
    return off.square().mean().sqrt(), off.abs().amax()


@dataclass
class Verdict:
    """What came of a spec: nothing wrong, a reason why it is not compared, or a failure."""

    seed: int
    refused: str = ""
    failed: str = ""


def verdicts(seeds: Iterable[int], lowering: str = "cpu") -> list[Verdict]:
    """Compare some seeds, their kernels built together."""
    return judged([drawn(seed) for seed in seeds], lowering)


def judged(items: Sequence[Drawn], lowering: str = "cpu") -> list[Verdict]:
    """The same for specs."""
    together = Together()
    found = [Verdict(item.seed) for item in items]
    runs: list[Run | None] = []
    for item, verdict in zip(items, found, strict=True):
        with together.collecting(), _Recorded(verdict):
            runs.append(None)
            run = Run(item, lowering)
            run.collect()
            runs[-1] = run
    together.build()
    for run, verdict in zip(runs, found, strict=True):
        if run is None:
            continue
        with together.calling(), _Recorded(verdict):
            run.check()
            if run.item.queries * run.item.keys <= ORACLE and run.item.seed % 4 == 0:
                run.check_oracle()
    return found


class _Recorded:
    """Keeps what goes wrong inside in a verdict."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, LoweringRefused):
            self.verdict.refused = str(error)
        elif isinstance(error, OutOfRange):
            self.verdict.refused = "the plain formula is not finite in float32"
        elif isinstance(error, Exception):
            self.verdict.failed = f"{type(error).__name__}: {error}"
        return error is None or isinstance(error, Exception)


def summary(found: Iterable[Verdict]) -> Iterator[str]:
    """Counts, with the reasons of refusals."""
    found = list(found)
    failed = sum(bool(verdict.failed) for verdict in found)
    reasons = Counter(verdict.refused for verdict in found if verdict.refused)
    yield f"{len(found)} specs, {failed} failures, {sum(reasons.values())} refused"
    for reason, count in reasons.most_common():
        yield f"{count:6} {reason}"
