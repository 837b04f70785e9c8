"""The pointwise operators, one row each: kinds, meaning in torch, cost.

Adding an operator is adding a row. The torch meaning is a name, resolved by the compiler, because the language knows no torch.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Rule = Literal["real", "numeric", "divide", "compare", "equal", "logic", "where", "cast", "as_ref"]


@dataclass(frozen=True, slots=True)
class Pointwise:
    """A pointwise operator.

    rule    how kinds combine: `real` makes reals of reals; `numeric` keeps ints and promotes an
            int that meets a real; `divide` always gives a real; `compare` and `equal` give bools;
            `logic` takes bools; `where` takes a bool and two of one kind; `cast` gives `result`
    least, most   how many arguments (most None: any number)
    torch   the dotted name of a torch function with the same meaning
    cost    floating-point operations per element, for the cost model
    keywords   names and defaults of trailing numeric arguments
    """

    name: str
    rule: Rule
    least: int
    most: int | None
    torch: str
    meaning: str
    cost: int = 1
    keywords: tuple[tuple[str, float], ...] = ()
    result: str = ""


_ROWS = (
    Pointwise("neg", "numeric", 1, 1, "torch.neg", "-a"),
    Pointwise("+", "numeric", 2, 2, "torch.add", "a + b"),
    Pointwise("-", "numeric", 2, 2, "torch.sub", "a - b"),
    Pointwise("*", "numeric", 2, 2, "torch.mul", "a * b"),
    Pointwise("/", "divide", 2, 2, "torch.div", "a / b", 4),
    Pointwise("//", "numeric", 2, 2, "floor_divide", "floor(a / b)", 4),
    Pointwise("%", "numeric", 2, 2, "torch.remainder", "a - b * floor(a / b)", 4),
    Pointwise("**", "numeric", 2, 2, "power", "a to the power b", 20),
    Pointwise("<", "compare", 2, 2, "torch.lt", "a < b"),
    Pointwise("<=", "compare", 2, 2, "torch.le", "a <= b"),
    Pointwise(">", "compare", 2, 2, "torch.gt", "a > b"),
    Pointwise(">=", "compare", 2, 2, "torch.ge", "a >= b"),
    Pointwise("==", "equal", 2, 2, "torch.eq", "a = b"),
    Pointwise("!=", "equal", 2, 2, "torch.ne", "a differs from b"),
    Pointwise("not", "logic", 1, 1, "torch.logical_not", "not a"),
    Pointwise("and", "logic", 2, 2, "torch.logical_and", "a and b"),
    Pointwise("or", "logic", 2, 2, "torch.logical_or", "a or b"),
    Pointwise("where", "where", 3, 3, "torch.where", "a where c holds, else b"),
    Pointwise("min", "numeric", 2, 2, "torch.minimum", "the smaller"),
    Pointwise("max", "numeric", 2, 2, "torch.maximum", "the larger"),
    Pointwise("clip", "numeric", 3, 3, "torch.clamp", "min(max(a, lo), hi)", 2),
    Pointwise("exp", "real", 1, 1, "torch.exp", "e to the power a", 15),
    Pointwise("expm1", "real", 1, 1, "torch.expm1", "exp(a) - 1", 18),
    Pointwise("log", "real", 1, 1, "torch.log", "natural logarithm", 15),
    Pointwise("log1p", "real", 1, 1, "torch.log1p", "log(1 + a)", 18),
    Pointwise("sqrt", "real", 1, 1, "torch.sqrt", "square root", 5),
    Pointwise("abs", "numeric", 1, 1, "torch.abs", "absolute value"),
    Pointwise("sign", "numeric", 1, 1, "torch.sign", "-1, 0 or 1"),
    Pointwise("floor", "real", 1, 1, "torch.floor", "largest whole number not above a"),
    Pointwise("ceil", "real", 1, 1, "torch.ceil", "smallest whole number not below a"),
    Pointwise("round", "real", 1, 1, "torch.round", "nearest whole number, halves to even"),
    Pointwise("tanh", "real", 1, 1, "torch.tanh", "hyperbolic tangent", 20),
    Pointwise("sigmoid", "real", 1, 1, "torch.sigmoid", "1 / (1 + exp(-a))", 18),
    Pointwise("relu", "real", 1, 1, "torch.relu", "max(a, 0)"),
    Pointwise(
        "leaky_relu",
        "real",
        1,
        2,
        "leaky_relu",
        "a where a > 0, else slope * a",
        2,
        (("slope", 0.01),),
    ),
    Pointwise("gelu", "real", 1, 1, "torch.nn.functional.gelu", "a * normal cdf of a", 25),
    Pointwise("silu", "real", 1, 1, "torch.nn.functional.silu", "a * sigmoid(a)", 19),
    Pointwise("elu", "real", 1, 1, "torch.nn.functional.elu", "a where a > 0, else exp(a) - 1", 17),
    Pointwise("softplus", "real", 1, 1, "softplus", "log(1 + exp(a))", 25),
    Pointwise("sin", "real", 1, 1, "torch.sin", "sine", 20),
    Pointwise("cos", "real", 1, 1, "torch.cos", "cosine", 20),
    Pointwise("erf", "real", 1, 1, "torch.erf", "error function", 20),
    Pointwise("safe_div", "divide", 2, 2, "safe_divide", "a / b, and 0 where b is 0", 5),
    Pointwise("ceil_div", "numeric", 2, 2, "ceil_divide", "ceil(a / b)", 5),
    Pointwise("real", "cast", 1, 1, "real", "a as a real", 1, (), "real"),
    Pointwise("int", "cast", 1, 1, "integer", "a as an int, towards zero", 1, (), "int"),
    Pointwise("detach", "numeric", 1, 1, "detach", "a, through which no gradient flows", 0),
    Pointwise("as_ref", "as_ref", 1, 1, "identity", "an int as a ref", 0),
)

POINTWISE: dict[str, Pointwise] = {row.name: row for row in _ROWS}

SYMBOLS = frozenset(name for name in POINTWISE if not name[0].isalpha()) | {
    "neg",
    "not",
    "and",
    "or",
    "as_ref",
}

#: tests of two numbers, by what Python has for them; of tensors and of terms of z3, too
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
