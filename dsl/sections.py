"""The sections of a spec: which keys there are, and the shape and meaning of each.

This one table drives the loader, `attnc schema` and the reference of the language.
"""

from __future__ import annotations

from .shapes import (
    Choice,
    Either,
    Expression,
    Flag,
    Identifier,
    Lazy,
    ListOf,
    MapOf,
    Number,
    Record,
    Shape,
    Text,
)

VERSION = 1

INITS = ("xavier", "normal", "uniform", "zeros", "ones", "identity")
DISTRIBUTIONS = ("normal", "uniform", "gumbel", "orthogonal")

COST = Record(
    {
        "time": Expression(doc="growth of the time, in n queries, m keys and dims"),
        "memory": Expression(doc="growth of the memory beside parameters and arguments"),
    },
    doc="what it claims to cost, up to a factor",
)

SHAPE = ListOf(Expression(), doc="index axes first, then feature dims")

DIM = Record(
    {
        "default": Either(scalar=Expression(), doc="value unless given; may use other dims"),
        "is": Expression(doc="derived: an expression over other dims"),
        "one_of": ListOf(Identifier(), doc="a choice of words, decided before typing"),
        "min": Number(doc="smallest legal value"),
        "max": Number(doc="largest legal value"),
        "multiple_of": Expression(doc="must be divisible by this"),
    },
    doc="a size, a number or a static choice",
)

INPUT = Record(
    {
        "type": Choice(("bool", "int", "real")),
        "over": Either(
            scalar=Identifier(), sequence=ListOf(Identifier()), doc="axes it has besides b"
        ),
        "dims": ListOf(Expression(), doc="feature dims"),
        "default": Expression(doc="value where the call gives none"),
        "range": ListOf(Expression(), doc="smallest and largest legal value of an int"),
    },
    required=("type",),
)

WEIGHT = Record(
    {
        "shape": SHAPE,
        "init": Text(doc=f"{', '.join(INITS)}, a number, or the name of a weight to copy"),
        "range": ListOf(Expression(), doc="projected to after each optimiser step"),
        "shared": Choice(("model",), doc="one array for every instance in a model"),
        "decay": Flag(doc="whether weight decay applies; default true"),
    },
    required=("shape",),
)

RANDOM = Record(
    {
        "shape": SHAPE,
        "dist": Choice(DISTRIBUTIONS),
        "per": Choice(("call",), doc="drawn anew in each call; otherwise frozen"),
    },
    required=("shape", "dist"),
)

BUFFER = Record({"shape": SHAPE, "init": Text()}, required=("shape",))

STREAM = Record(
    {
        "over": Either(
            scalar=Identifier(), sequence=ListOf(Identifier()), doc="own, a token set, or axes"
        ),
        "dims": ListOf(Expression()),
        "first": Expression(doc="value in the first layer"),
        "block": Choice(("full", "norm", "none"), doc="what a surrounding block does to it"),
    },
    required=("over",),
)

ATTEND_FIELDS: dict[str, Shape] = {
    "mask": Expression(doc="who sees whom: true where attention is allowed"),
    "at": Expression(doc="who sees whom, as a list of refs to the keys"),
    "score": Expression(doc="the score of a pair"),
    "value": Expression(doc="what a key contributes"),
    "keys": Expression(doc="the token set that is attended to; default context"),
}

SOURCE = Record(
    {**ATTEND_FIELDS, "let": Lazy("bindings")}, required=("score", "value"), doc="one key set"
)

ROW_FIELDS: dict[str, Shape] = {
    "queries": Expression(doc="the token set that attends; default x"),
    "sources": ListOf(SOURCE, doc="several key sets under one normaliser"),
    "normalize": Expression(doc="from scores `s` to weights; default softmax(s, j)"),
    "dropout": Expression(doc="probability that a weight is zeroed in training"),
    "prior": Expression(doc="added to the score"),
}

ATTEND = Record({**ATTEND_FIELDS, **ROW_FIELDS, "let": Lazy("bindings")})

FOLD: dict[str, Shape] = {
    "carry": MapOf(Expression(), removable=False),
    "let": Lazy("bindings"),
    "next": MapOf(Expression(), removable=False),
    "yield": MapOf(Expression(), removable=False),
}
ITERATE = Record({"step": Identifier(), **FOLD}, required=("step", "carry", "next"))
RECUR = Record({"over": Expression(), **FOLD}, required=("over", "carry", "next"))

WITH = MapOf(Expression(), removable=False, doc="dims and spec-valued parameters of the spec used")
USE = Record({"spec": Identifier(), "with": WITH}, required=("spec",), rest=Expression())
LAYER = Record(
    {
        "times": Expression(doc="how many such layers; default 1"),
        "use": Identifier(doc="the spec of the layer"),
        "with": WITH,
        "layers": Lazy("layers"),
    }
)
STACK = Record(
    {
        "x": Expression(),
        "layers": Lazy("layers"),
        "shared": Flag(doc="one set of weights for every layer"),
    },
    required=("x", "layers"),
    rest=Expression(),
)

BLOCK = Record(
    {
        "attend": ATTEND,
        "iterate": ITERATE,
        "recur": RECUR,
        "stack": STACK,
        "use": USE,
    },
    doc="an attention, a loop, a stack of layers or another spec",
    is_choice=True,
)

BINDINGS = MapOf(Either(scalar=Expression(), mapping=BLOCK, doc="an expression or a block"))

NAMED: dict[str, Shape] = {"bindings": BINDINGS, "layers": ListOf(LAYER)}

SPEC = Record(
    {
        "attnc": Number(whole=True, doc="version of the language: 1"),
        "name": Identifier(doc="the name of the spec"),
        "entry": ListOf(Text(), single=True, doc="rows of the catalogue"),
        "doc": Text(doc="one sentence"),
        "cite": ListOf(Text(), single=True, doc="sources"),
        "cost": COST,
        "extends": ListOf(Identifier(), single=True, doc="specs that this one changes"),
        "causality": Choice(("strict", "masked", "none"), doc="contract, derived and compared"),
        "context": Choice(
            ("any", "same", "memory"),
            doc="same: keys are the queries' own tokens; memory: another stream, always given",
        ),
        "batch": Choice(("coupled",), doc="allows reductions over b"),
        "dims": MapOf(Either(scalar=Expression(), mapping=DIM), doc="sizes and static choices"),
        "axes": MapOf(
            Either(scalar=Expression(), mapping=Record({"like": Identifier()}, ("like",))),
            doc="index axes and their sizes",
        ),
        "inputs": MapOf(INPUT, doc="side inputs of the call"),
        "weights": MapOf(WEIGHT, doc="learned arrays"),
        "random": MapOf(RANDOM, doc="random arrays, drawn by counter"),
        "buffers": MapOf(BUFFER, doc="arrays changed by `updates`, not by gradients"),
        "updates": MapOf(Expression(), doc="new values of buffers after a training step"),
        "streams": MapOf(STREAM, doc="values passed from layer to layer"),
        "specs": MapOf(
            Either(scalar=Identifier(), mapping=Record({"default": Identifier()}, ("default",))),
            doc="spec-valued parameters",
        ),
        "project": BINDINGS,
        "tokens": BINDINGS,
        "let": BINDINGS,
        **dict(ATTEND_FIELDS.items()),
        **ROW_FIELDS,
        "out": Either(scalar=Expression(), mapping=MapOf(Expression()), doc="the result"),
        "losses": MapOf(
            Record({"value": Expression(), "weight": Expression()}, ("value",)),
            doc="auxiliary losses",
        ),
        "macros": MapOf(Expression(), signatures=True, doc="expressions with parameters"),
    },
    required=("attnc", "name"),
    removable=(*ATTEND_FIELDS, *ROW_FIELDS, "out", "causality", "context"),
    doc="an attention spec, or a model made of them",
)

EXPRESSION_SECTIONS = (*ATTEND_FIELDS, "queries", "normalize", "dropout", "prior")
MAP_SECTIONS = (
    "cost",
    "dims",
    "axes",
    "inputs",
    "weights",
    "random",
    "buffers",
    "updates",
    "streams",
    "specs",
    "losses",
    "macros",
)
BINDING_SECTIONS = ("project", "tokens", "let")
