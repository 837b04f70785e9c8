"""Compiled specs as modules: parameters under documented names, one graph per way of calling.

A signature is compiled when it is first met and kept. The graphs call this module's own submodules and parameters, so hooks, adapters, sharding and state dicts work as in any module.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, fx, nn

from ..compiler.lower import Choice, Lowered, attends_of, lower
from ..compiler.passes import run_passes
from ..compiler.program import Program, Signature
from ..dsl.core import Attend, Draw, Dropout, Node, Param, Use, operands, walk
from ..dsl.elaborate.expressions import part
from ..dsl.shapes import closest
from ..dsl.typed import LossInfo, TypedSpec
from . import calls, parameters
from .arguments import Arguments, positional
from .errors import ArgumentMistake
from .explanation import chosen, explain
from .kernels.attend import FusedAttend
from .kernels.errors import KernelError
from .lengths import work_of

if TYPE_CHECKING:
    from .sparsity import Sparsity

Lowering = Literal["auto", "dense", "sdpa", "linear", "tiled", "cpu", "flex"]
FUSED = ("linear", "cpu", "sdpa", "tiled", "chunked")
LOOPS = ("chunked", "loop")
Function = Callable[..., Any]


@dataclass(frozen=True)
class Options:
    """What the caller of `compile` decided.

    core     only the attention core: heads from the bindings of `project`
    strict   with lowering auto: an attend that takes no fused lowering is an error
    seed     of frozen draws and starting values
    """

    lowering: Lowering = "auto"
    strict: bool = False
    core: bool = False
    seed: int = 0


class LoweringRefused(ValueError):
    """The lowering that was asked for by name does not fit the spec."""


@dataclass
class Compiled:
    """One signature: its program, its graph, and the function made of it."""

    program: Program
    lowered: Lowered
    function: Function
    names: tuple[str, ...]
    results: tuple[str, ...] = field(default=())


class Module(nn.Module):
    """A spec compiled to torch.

    Parameters are named as in the spec: `q.weight` and `q.bias` for a `linear` in binding `q`,
    `u` for a weight `u`, `body.0.q.weight` inside a layer.
    """

    def __init__(self, spec: TypedSpec, options: Options | None = None, path: str = "") -> None:
        super().__init__()
        self._path = path
        self.spec = spec
        self.options = options or Options()
        self.steps = 0
        self._compiled: dict[Signature, Compiled] = {}
        #: of calls that were met, by `calls.key`
        self._functions: dict[tuple[Any, ...], Function] = {}
        self._traced: dict[str, Any] = {}
        self._has_kernels = True
        self._work = work_of(spec, self.options.core)
        self._masks: dict[Any, Any] = {}
        self._losses: dict[str, Tensor] = {}
        self._updates: dict[str, Tensor] = {}
        self._roots = _all_roots(spec, self.options.core)
        nodes = list(walk(*self._roots.values()))
        self._draws = any(isinstance(node, Draw) for node in nodes)
        self._drops = any(
            isinstance(node, Dropout) or (isinstance(node, Attend) and node.dropout > 0)
            for node in nodes
        )
        self._needs_context = any(
            isinstance(node, Param) and node.name == "context" for node in nodes
        )
        self._params = {node.name for node in nodes if isinstance(node, Param)}
        self._needed_streams = self._find_needed_streams()
        self._arguments = Arguments(
            spec,
            core=self.options.core,
            read=self._params,
            needs_context=self._needs_context,
            streams=self._needed_streams,
            draws={node.name for node in nodes if isinstance(node, Draw)},
        )
        self._build(nodes)
        #: the modules that have parameters of their own: to look for them takes longer than a short call
        self._owners = tuple(item for item in self.modules() if item._parameters)

    # -- parameters -------------------------------------------------------------------------

    def _build(self, nodes: list[Node]) -> None:
        parameters.declare(self, nodes)
        for name, sub in self.spec.uses.items():
            inner = replace(self.options, core=False)
            parameters.put(self, name, Module(sub, inner, f"{self._path}{name}."))
        parameters.tie(self._specs())
        if not (self.spec.weights or self.spec.owners):
            self.register_buffer("_like", torch.empty(0), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new starting values, as the spec says."""
        parameters.reset(self)

    def decay_groups(self, decay: float) -> list[dict[str, Any]]:
        """Parameter groups for an optimiser: weights that decay, and biases and norms that do not."""
        return parameters.decay_groups(self, decay)

    # -- compiling --------------------------------------------------------------------------

    def compiled(self, signature: Signature) -> Compiled:
        """The graph of one way of calling; compiled when first asked for."""
        found = self._compiled.get(signature)
        if found is None:
            found = self._compile(signature)
            self._compiled[signature] = found
        return found

    def _keep_for_tracing(self, made: Compiled, steps: Mapping[str, nn.Module]) -> str:
        """Make a graph and what it calls attributes; the name of that of the graph."""
        place = next(n for n, item in enumerate(self._compiled.values()) if item is made)
        name = f"_graph_{place}"
        self._traced.update({name: made, **steps})
        vars(self).update(self._traced)
        return name

    @torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
    def _prepared(self, given: tuple[str, ...], *told: bool) -> str:
        """The attribute of a graph; a method, as torch 2.11 has no modules among such arguments."""
        return calls.prepared(self, given, *told)

    def prepare(self) -> None:
        """Compile the usual ways of calling, in training and in evaluation."""
        mode = self.training
        for training in (True, False):
            self.training = training
            self._prepare_inside(self.compiled(self._usual()))
        self.training = mode

    def _prepare_inside(self, made: Compiled) -> None:
        """Compile the specs inside for the calls that a graph makes of them."""
        for node in made.lowered.graph.nodes:
            inner = self.get_submodule(node.target) if node.op == "call_module" else None
            if isinstance(inner, Module):
                mode, inner.training = inner.training, self.training
                signature = inner._signature(inner._arguments.signs(node.kwargs))
                inner._prepare_inside(inner.compiled(signature))
                inner.training = mode

    def _find_needed_streams(self) -> list[str]:
        """Streams without a first value that something reads; specs inside have their own."""
        read = {
            arg.name
            for root in self._roots.values()
            for node in walk(root)
            if not isinstance(node, Use)
            for arg in operands(node)
            if isinstance(arg, Param) and arg.role == "stream"
        }
        streams = self.spec.streams.values()
        return [info.name for info in streams if info.first is None and info.name in read]

    def _usual(self) -> Signature:
        """The signature of a call that gives what it must."""
        must = {
            info.name
            for info in self.spec.inputs.values()
            if info.default is None and info.name in self._params
        }
        must.update(self._needed_streams)
        if self.spec.memory and self._needs_context and not self.options.core:
            must.add("context")
        return self._signature(frozenset(must))

    def program(self, signature: Signature | None = None) -> Program:
        """The program of a signature after all passes."""
        signature = signature or self._usual()
        return run_passes(Program(self.spec, signature, self._wanted(signature)))

    def _compile(self, signature: Signature) -> Compiled:
        program = self.program(signature)
        lowered = lower(program, "dense" if signature.plain else self.options.lowering, FusedAttend)
        if not signature.plain:
            self._check_choice(lowered.choices)
        for name, step in lowered.submodules.items():
            self.add_module(name, step)
        module = fx.GraphModule(self, lowered.graph, class_name=_class_name(self.spec.name))
        function: Function = type(module).forward
        return Compiled(program, lowered, function, lowered.arguments, tuple(program.roots))

    def _check_choice(self, choices: tuple[Choice, ...]) -> None:
        asked = self.options.lowering
        if asked not in get_args(Lowering):
            known = ", ".join(get_args(Lowering))
            raise LoweringRefused(f"there is no lowering `{asked}`; there are {known}")
        if asked == "dense" or (asked == "auto" and not self.options.strict):
            return
        wanted = FUSED if asked == "auto" else (asked,)
        for choice in choices:
            if asked != "auto" and choice.lowering in LOOPS:
                continue
            if choice.lowering not in wanted:
                reasons = "; ".join(
                    f"{name}: {refusal.reason}"
                    + (f" (smallest edit: {refusal.edit})" if refusal.edit else "")
                    for name, refusal in choice.refusals
                    if name in wanted
                )
                raise LoweringRefused(f"`{choice.name}` does not fit {reasons}")

    def _signature(self, given: frozenset[str], wants: tuple[str, ...] = ()) -> Signature:
        aux = len(self.spec.losses) + len(self.spec.updates) > 0
        training = self.training and (self._drops or aux) and not wants
        asked = self.options.lowering
        return Signature(
            given, training, wants, self.options.core, asked == "tiled", asked == "cpu"
        )

    def _wanted(self, signature: Signature) -> dict[str, Node]:
        spec = self.spec
        if signature.core:
            assert spec.core is not None
            outputs = {"x": spec.core}
        else:
            outputs = dict(spec.outputs)
        if signature.wants:
            return {name: self._tap(name) for name in signature.wants}
        if signature.training:
            for loss in spec.losses.values():
                outputs[f"loss.{loss.name}"] = _weighted(loss)
            outputs.update({f"update.{name}": node for name, node in spec.updates.items()})
        return outputs

    def _tap(self, name: str) -> Node:
        head, _, piece = name.partition(".")
        node = self.spec.bindings.get(head)
        if node is None:
            hint = closest(head, tuple(self.spec.bindings))
            raise ArgumentMistake(
                f"there is no binding `{head}`" + (f"; did you mean `{hint}`?" if hint else "")
            )
        if not piece:
            return node
        if not isinstance(node, Attend):
            raise ArgumentMistake(f"`{head}` is not an attend and has no `.{piece}`")
        return part(node, piece)

    # -- calling ----------------------------------------------------------------------------

    @property
    def argument_names(self) -> tuple[str, ...]:
        """The positional arguments of `forward`, in order."""
        return self._arguments.names

    def forward(self, x: Any = None, context: Any = None, *more: Any, **inputs: Any) -> Any:
        """The results of the spec: one tensor, or a dict where `out` is a map.

        Shapes:
            x        (batch, length, d_model); context (batch, context length, d_model), x unless given
            inputs   as declared, under their names or in order after context; models that take
                     no x have theirs first, and the core of a spec its bindings of `project`
            valid, context_valid   (batch, length) bool, False for padding
        Options:
            q_start, k_start   positions of the first query and key: a number, per example
                               (batch,), or all positions (batch, length); k_start defaults to
                               q_start where the keys are the queries' own tokens
            head_start         number of the first head, for shards of heads
            inject             values of named bindings, in place of what the spec computes
            call_seed          makes the draws of this call repeatable
        Raises:
            ArgumentMistake: an unknown name, a missing input, a wrong shape or dtype.
        """
        key = calls.key(self, (x, context, *more), inputs)
        if key is not None:
            known = self._functions.get(key)
            try:
                if known is not None:
                    values = (x, context, *more, *inputs.values())
                    return known(self, *[value for value in values if value is not None])
            except KernelError:  # of another layout; it is told below
                del self._functions[key]
        call_seed = inputs.pop("call_seed", None)
        given = self._arguments.bound(positional(x, context, *more), inputs)
        signature = calls.sized(self, given, self._signature(self._arguments.signs(given)))
        compiled = calls.graph(self, signature)
        try:
            made = compiled.function(self, *self._values(compiled.names, given, call_seed))
        except KernelError as error:
            compiled = self.compiled(calls.without_kernels(self, signature, error))
            made = compiled.function(self, *self._values(compiled.names, given, call_seed))
        if key is not None:
            calls.remember(self, key, given, signature, compiled)
        if not signature.training:
            return made
        return self._keep_aside(made)

    def _keep_aside(self, made: Any) -> Any:
        if not isinstance(made, dict):
            return made
        self._losses = {k[5:]: made.pop(k) for k in list(made) if k.startswith("loss.")}
        self._updates = {k[7:]: made.pop(k) for k in list(made) if k.startswith("update.")}
        return made["x"] if tuple(made) == ("x",) else made

    def _values(
        self, names: tuple[str, ...], given: Mapping[str, Any], call_seed: int | None
    ) -> Iterator[Any]:
        for name in names:
            if name == "call":
                yield self._call_seed(call_seed)
            elif name == "seed":
                yield torch.tensor(self.options.seed)
            elif name == "step":
                yield self.steps
            elif f"inject:{name}" in given:
                yield given[f"inject:{name}"]
            else:
                yield given[name]

    def _call_seed(self, given: int | None) -> Tensor:
        """The seed of one call: from torch's generator, so that checkpointing replays it."""
        if given is not None:
            return torch.tensor(given)
        if not (self._draws or (self._drops and self.training)):
            return torch.zeros((), dtype=torch.int64)
        return torch.randint(2**62, ())

    # -- training ---------------------------------------------------------------------------

    def losses(self) -> Tensor:
        """Sum of the weighted auxiliary losses of the last call in training; 0 without any."""
        total = [loss for module in self._specs() for loss in module._losses.values()]
        if not total:
            return torch.zeros(())
        return torch.stack([loss.reshape(()) for loss in total]).sum()

    @torch.no_grad()
    def after_step(self) -> None:
        """What follows an optimiser step: buffers are updated, bounded weights projected."""
        for module in self._specs():
            for name, value in module._updates.items():
                module.get_buffer(name).copy_(value)
            module._updates = {}
            for info in module.spec.weights.values():
                if info.bounds is not None and info.name in module._params:
                    module.get_parameter(info.name).clamp_(*info.bounds)
            module.steps += 1

    def _specs(self) -> Iterator[Module]:
        for module in self.modules():
            if isinstance(module, Module):
                yield module

    # -- looking inside ---------------------------------------------------------------------

    def taps(self, *names: str, **call: Any) -> dict[str, Tensor]:
        """Named bindings of the spec for one call: `q`, `heads`, `heads.weights`, ...

        Index axes come in the order batch, heads, others, tokens; feature dims last.
        """
        given = self._arguments.bound((), call)
        signature = self._signature(self._arguments.signs(given), tuple(names))
        compiled = self.compiled(signature)
        made = compiled.function(self, *self._values(compiled.names, given, 0))
        return made if isinstance(made, dict) else {names[0]: made}

    def sparsity(self, length: int, **options: Any) -> dict[str, Sparsity]:
        """Which blocks of queries and keys each attend of the spec meets, at any length.

        Known from the masks alone: nothing is formed that grows with the pairs.

        Options:
            context   how many keys a memory has
            block     queries and keys of a block, (128, 128) unless told
            attend    the name of one attend
            exact     look at the pairs of blocks that intervals leave undecided; True for masks
                      of positions alone unless told, else such blocks count as partial
            and every option of a call but `inject`: `valid`, `q_start`, inputs such as labels;
            `x` where the mask depends on what the tokens hold
        """
        from .sparsity import sparsity

        return sparsity(self, length, **options)

    def _attend_name(self) -> str:
        found = [n for n, node in self.spec.bindings.items() if isinstance(node, Attend)]
        if not found:
            raise ArgumentMistake(f"`{self.spec.name}` has no attend of its own to look into")
        return "heads" if "heads" in found else found[-1]

    def weights(self, *args: Any, **call: Any) -> Tensor:
        """Normalised weights (batch, heads, queries, keys) of the spec's attend, for pictures."""
        return self._part("weights", args, call)

    def scores(self, *args: Any, **call: Any) -> Tensor:
        """Scores (batch, heads, queries, keys), -inf where a pair is not there."""
        return self._part("scores", args, call)

    def _part(self, piece: str, args: tuple[Any, ...], call: dict[str, Any]) -> Tensor:
        name = f"{self._attend_name()}.{piece}"
        call = {**dict(zip(self.argument_names, args, strict=False)), **call}
        return self.taps(name, **call)[name]

    @property
    def graph_module(self) -> fx.GraphModule:
        """The graph for a call with required arguments only, as a module that shares weights."""
        compiled = self.compiled(self._usual())
        return fx.GraphModule(
            self, copy.deepcopy(compiled.lowered.graph), _class_name(self.spec.name)
        )

    @property
    def lowering(self) -> dict[str, str]:
        """Which lowering each attend takes in short calls, by name; inner specs under their own."""
        return self.lowering_at(1)

    def lowering_at(self, length: int) -> dict[str, str]:
        """Which lowering each attend takes in calls of so many tokens."""
        return {item.name: item.lowering for item in chosen(self, length)}

    def choices(self, is_long: bool = False, is_fused: bool = False) -> tuple[Choice, ...]:
        """The lowering of each attend of this spec, with the reasons against the others."""
        signature = self._usual()
        if self.options.lowering == "auto":
            signature = replace(signature, long=is_long, fused=is_fused)
        return self.compiled(signature).lowered.choices

    def explain(self, length: int = 1) -> str:
        """Which lowering each attend takes, and why not another: line, reason, smallest edit."""
        return explain(self, length)

    def extra_repr(self) -> str:
        dims = ", ".join(f"{name}={value}" for name, value in list(self.spec.dims.items())[:6])
        return f"{self.spec.name}: {dims}"

    def __getstate__(self) -> dict[str, Any]:
        state = {k: item for k, item in self.__dict__.items() if k not in self._traced}
        state["_compiled"], state["_losses"], state["_updates"] = {}, {}, {}
        state["_masks"], state["_traced"], state["_functions"] = {}, {}, {}
        return state


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_")) or "Spec"


def _all_roots(spec: TypedSpec, core: bool) -> dict[str, Node]:
    if core and spec.core is not None:
        return {"x": spec.core}
    roots = dict(spec.outputs)
    roots.update({f"update.{name}": node for name, node in spec.updates.items()})
    roots.update({f"loss.{loss.name}": loss.value for loss in spec.losses.values()})
    for stream in spec.streams.values():
        if stream.first is not None:
            roots[f"first.{stream.name}"] = stream.first
    return roots


def _weighted(loss: LossInfo) -> Node:
    from ..dsl.elaborate.typing import pointwise, real

    return pointwise("*", real(loss.value), real(loss.weight))


__all__ = ["ArgumentMistake", "Compiled", "LoweringRefused", "Module", "Options", "attends_of"]
