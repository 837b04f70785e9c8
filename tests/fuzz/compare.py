"""One random spec in float32 by its kernels and in tiles, beside the dense form, against float64."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from attnc.dsl import api
from attnc.dsl.source import Source
from attnc.runtime.module import LoweringRefused, Module, Options
from attnc.runtime.oracle import evaluate
from torch import Tensor
from torch._inductor.utils import run_and_get_code

from .specs import INPUTS, Drawn, drawn
from .together import Together

#: errors against float64, in units of those of the dense form in float32: rms, and the largest
RMS, MOST = 8.0, 24.0
#: errors that are never blamed, in units in the last place of the rms
ULPS = 4.0
LOWERINGS = ("cpu", "tiled")
#: how often the dense form is run on inputs that differ by rounding, to see what that does
WIGGLES = 6
ORACLE = 40 * 40
#: names and numbers in a message
_DETAIL = re.compile(r"`[^`]*`|\d+")
#: the rounding of o . g, in parts of the size of o
NOISE = 2.4e-7
#: vectors that inductor's C++ adds one to the other before it starts another sum (torch 2.13), and
#: the numbers in each
CHAIN, LANES = 4096, 16
#: a loop over the lanes of a vector that stores each in the same place of a row that inductor keeps for
#: itself, so that of 16 rows the last stays: wrong gradients, which are right with its option
#: `cpp.simdlen = 1` (torch 2.13, seed 300046; https://github.com/pytorch/pytorch/issues/185702)
OVERWRITTEN = re.compile(
    r"for \(long (\w+_inner) = 0;[^\n]*\)\s*\{\s*"
    r"local_buffer_data_\d+\[(?:(?!\b\1\b)[^\n])*\] = tmpbuf\[\1\]"
)
OVERWRITES = "inductor stores the lanes of a vector in one place"


class Mismatch(AssertionError):
    """Two lowerings differ by more than rounding explains."""


class OutOfRange(Exception):
    """The plain formula is not finite in float32."""


@dataclass
class Run:
    """A spec in several lowerings, with the same weights.

    made      the modules beside the dense one, by lowering
    refused   why there is none; known after a first call
    codes     what inductor made, by lowering
    """

    item: Drawn
    lowerings: Sequence[str] = LOWERINGS
    plain: Module = field(init=False)
    made: dict[str, Module] = field(init=False, default_factory=dict)
    refused: dict[str, str] = field(init=False, default_factory=dict)
    codes: dict[str, str] = field(init=False, default_factory=dict)
    leaves: dict[str, Tensor] = field(init=False)
    call: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        checked = api.check(source=Source("drawn", self.item.text), dims=self.item.dims)
        checked.report.raise_errors()
        assert checked.spec is not None
        self.plain = Module(checked.spec, Options("dense")).eval()
        self.made = {name: self._compiled(name) for name in self.lowerings}
        generator = torch.Generator().manual_seed(self.item.seed)
        self.leaves, self.call = {}, {}
        for name, weight in self.plain.named_parameters():
            wide = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            bound = max(1, weight.shape[-1] if weight.dim() == 2 and "." in name else 1)
            self.leaves[f"w:{name}"] = wide * bound**-0.5
        unread = {*INPUTS} - {*self.plain.argument_names}  # folding may leave inputs out
        for name, value in self.item.call().items():
            if name in unread:
                continue
            is_real = isinstance(value, Tensor) and value.is_floating_point()
            (self.leaves if is_real else self.call)[name] = value

    def _compiled(self, lowering: Any) -> Module:
        """Another lowering of the spec, which is not checked again."""
        return Module(self.plain.spec, Options(lowering)).eval()

    def by(
        self,
        module: Module,
        leaves: dict[str, Tensor],
        dtype: torch.dtype,
        off: Tensor | None = None,
    ) -> list[Tensor]:
        """The result and the gradients of all leaves; off: what its cotangents are multiplied by."""
        given = {name: leaf.detach().to(dtype).requires_grad_() for name, leaf in leaves.items()}
        weights = {name[2:]: leaf for name, leaf in given.items() if name.startswith("w:")}
        inputs = {name: leaf for name, leaf in given.items() if not name.startswith("w:")}
        module.to(dtype)
        made = torch.func.functional_call(module, weights, (), {**inputs, **self.call})
        return _with_gradients(made, given.values(), off)

    def by_inductor(self, module: Module) -> tuple[list[Tensor], str]:
        """The same in float32 by what torch.compile makes of a module, and its code."""
        torch.compiler.reset()
        weights = dict(module.float().named_parameters())
        given = {}
        for name, leaf in self.leaves.items():
            if name.startswith("w:"):
                given[name] = weights[name[2:]]
                given[name].data.copy_(leaf)
            else:
                given[name] = leaf.detach().float().requires_grad_()
        inputs = {name: leaf for name, leaf in given.items() if not name.startswith("w:")}

        def run() -> list[Tensor]:
            return _with_gradients(torch.compile(module)(**inputs, **self.call), given.values())

        made, codes = run_and_get_code(run)
        return made, "\n".join(codes)

    @property
    def names(self) -> list[str]:
        return ["result", *self.leaves]

    def collect(self) -> None:
        """Run the kernels' calls for what they build."""
        self._by_lowering(*({"cpu"} & self.made.keys()))

    def _by_lowering(self, *names: str) -> dict[str, list[Tensor]]:
        """What lowerings make in float32; those that are refused are left out from now on."""
        found = {}
        for name in names:
            try:
                found[name] = self.by(self.made[name], self.leaves, torch.float32)
            except LoweringRefused as error:
                self.refused[name] = str(error)
                del self.made[name]
        return found

    def check(self, inductor: bool = False) -> None:
        """Compare results and gradients; inductor: also of what torch.compile makes.

        Raises:
            Mismatch: with the names of what differs.
        """
        exact = self.by(self.plain, self.leaves, torch.float64)
        limits = [Limit(truth) for truth in exact]
        self.widen(limits)
        if not all(limit.is_finite for limit in limits):
            raise OutOfRange
        made = self._by_lowering(*self.made)
        if inductor:
            for name, module in {"dense": self.plain, **self.made}.items():
                name = f"inductor {name}"
                made[name], self.codes[name] = self.by_inductor(module)
        found = self._mistakes(limits, made)
        if found:
            for place in range(WIGGLES):
                self.widen(limits, self._wiggled(place))
            self._widen_by_cancellation(limits)
            found = self._mistakes(limits, made)
        if found and inductor:
            compiled = {name: made.pop(name) for name in [*made] if name.startswith("inductor")}
            found = self._mistakes(limits, made)
            wider = self.widened_by_chains(limits)
            for name, ours in compiled.items():
                wrong = self._mistakes(wider, {name: ours})
                if wrong and OVERWRITTEN.search(self.codes[name]):
                    self.refused[name] = OVERWRITES
                else:
                    found += wrong
        if found:
            raise Mismatch("; ".join(found))

    def widen(self, limits: Sequence[Limit], leaves: dict[str, Tensor] | None = None) -> None:
        """By the errors of the dense form in float32, on leaves of its own or on others."""
        ours = self.by(self.plain, leaves or self.leaves, torch.float32)
        for limit, made in zip(limits, ours, strict=True):
            limit.widen(made)

    def _widen_by_cancellation(self, limits: Sequence[Limit]) -> None:
        """What rounding leaves where the gradient of a softmax cancels: a little of that of its lse.

        A softmax's scores have the cotangent w (v . g - o . g), which is 0 where there is one key.
        Kernels make o . g once for a row, so that its rounding stays; the dense form has it not.
        Products round each in its own way, which may add up or not: so it is drawn some times.
        """
        size = float(limits[0].truth.square().mean().sqrt())
        noisy = Run(replace(self.item, noise=NOISE * max(size, 1.0)), ())
        if "jitter" not in noisy.leaves:  # no softmax
            return
        for place in range(WIGGLES):
            generator = torch.Generator().manual_seed(place)
            jitter = torch.randn(noisy.leaves["jitter"].shape, generator=generator)
            leaves = {**self.leaves, "jitter": jitter}
            made = noisy.by(noisy.plain, leaves, torch.float64)[1:-1]
            for limit, item in zip(limits[1:], made, strict=True):
                limit.widen(item)

    def widened_by_chains(self, limits: Sequence[Limit]) -> list[Limit]:
        """What inductor's sums may leave where numbers of both signs cancel.

        It adds up to CHAIN vectors one to the other, where torch adds in pairs: of 1530 normal numbers,
        whose sum is 10, `torch.compile(torch.sum)` makes one that is off by 2e-5, torch by 2e-6 (seed
        300025). Each addition rounds all that was added before, so that a term takes part in up to n
        roundings: as if it, hence its cotangent, were off by sqrt(n) of them.
        """
        size = limits[0].truth.shape
        chain = min(CHAIN, limits[0].truth.numel() / LANES)
        wider = [copy(limit) for limit in limits]
        for place in range(WIGGLES):
            generator = torch.Generator().manual_seed(99 + place)  # the cotangents are of 3
            noise = torch.randn(size, generator=generator, dtype=torch.float64)
            off = 1 + torch.finfo(torch.float32).eps / 2 * chain**0.5 * noise
            made = self.by(self.plain, self.leaves, torch.float64, off)
            for limit, item in zip(wider, made, strict=True):
                limit.widen(item)
        return wider

    def _wiggled(self, place: int) -> dict[str, Tensor]:
        """The leaves, off by about their rounding."""
        generator = torch.Generator().manual_seed(place)
        by = 1e-7
        return {
            name: leaf
            * (1 + by * torch.randn(leaf.shape, generator=generator, dtype=torch.float64))
            for name, leaf in self.leaves.items()
        }

    def _mistakes(self, limits: Sequence[Limit], made: dict[str, list[Tensor]]) -> list[str]:
        return [
            f"{lowering}, {name}: {said}"
            for lowering, ours in made.items()
            for name, limit, item in zip(self.names, limits, ours, strict=False)
            if (said := limit.excess(item))
        ]

    def check_oracle(self) -> None:
        """Compare the dense form with the oracle, in float64."""
        leaves = {name: leaf.detach().requires_grad_() for name, leaf in self.leaves.items()}
        weights = {n[2:]: leaf for n, leaf in leaves.items() if n.startswith("w:")}
        given = {n: leaf for n, leaf in leaves.items() if not n.startswith("w:")}
        given |= {name: self.call[name] for name in INPUTS if name in self.call}
        options = {name: value for name, value in self.call.items() if name not in INPUTS}
        true = evaluate(self.plain.spec, weights, given, **options)["x"]
        expected = _with_gradients(true, leaves.values())
        made = self.by(self.plain, self.leaves, torch.float64)
        for name, ours, theirs in zip(self.names, made, expected, strict=False):
            told = partial("{}, {}".format, f"oracle, {name}")
            torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-7, msg=told)


def _with_gradients(
    made: Tensor, leaves: Iterable[Tensor], off: Tensor | None = None
) -> list[Tensor]:
    """A result, and the gradients of leaves by the sum of its numbers in random proportions."""
    if not made.requires_grad:
        return [made]
    ways = torch.randn(made.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ways = ways if off is None else ways * off
    grads = torch.autograd.grad(
        (made.double() * ways).sum(), list(leaves), allow_unused=True, materialize_grads=True
    )
    return [made.detach(), *grads]


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
    """What came of a spec: nothing wrong, reasons why it is not compared, or a failure."""

    seed: int
    refused: dict[str, str] = field(default_factory=dict)
    failed: str = ""

    @property
    def kind(self) -> str:
        """What failed, without what changes as a spec is made small: which lowerings differ, else which error."""
        error, _, message = self.failed.partition(": ")
        if error in (Mismatch.__name__, AssertionError.__name__):
            return ", ".join(
                [error, *sorted({text.partition(",")[0] for text in message.split("; ")})]
            )
        return _DETAIL.sub("", self.failed.partition("\n")[0])


def verdicts(
    seeds: Iterable[int], lowerings: Sequence[str] = LOWERINGS, inductor: int = 0
) -> list[Verdict]:
    """Compare some seeds, their kernels built together; those below `inductor` through it, too."""
    return judged([drawn(seed) for seed in seeds], lowerings, inductor)


def judged(
    items: Sequence[Drawn], lowerings: Sequence[str] = LOWERINGS, inductor: int = 0
) -> list[Verdict]:
    """The same for specs."""
    together = Together()
    found = [Verdict(item.seed) for item in items]
    runs: list[Run | None] = []
    for item, verdict in zip(items, found, strict=True):
        with together.collecting(), _Recorded(verdict):
            runs.append(None)
            run = Run(item, lowerings)
            verdict.refused = run.refused
            run.collect()
            runs[-1] = run
    together.build()
    for run, verdict in zip(runs, found, strict=True):
        if run is None:
            continue
        with together.calling(), _Recorded(verdict):
            run.check(run.item.seed < inductor)
            if run.item.queries * run.item.keys <= ORACLE and run.item.seed % 4 == 0:
                run.check_oracle()
    return found


class _Recorded:
    """Keeps what goes wrong inside in a verdict."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, OutOfRange):
            self.verdict.refused["all"] = "the plain formula is not finite in float32"
        elif isinstance(error, Exception):
            self.verdict.failed = f"{type(error).__name__}: {error}"
        return error is None or isinstance(error, Exception)


def summary(found: Iterable[Verdict]) -> Iterator[str]:
    """Counts, with the reasons of refusals."""
    found = list(found)
    failed = sum(bool(verdict.failed) for verdict in found)
    reasons = Counter(item for verdict in found for item in verdict.refused.items())
    yield f"{len(found)} specs, {failed} failures"
    for (lowering, reason), count in reasons.most_common():
        yield f"{count:6} without {lowering}: {reason}"
