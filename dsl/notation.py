"""Expressions and specs -> mathematical text, as a paper would print it.

    S[h,i,j] = u[h] · tanh(q[h,i] + k[h,j] + c[h])
    A[h,i,j] = softmax_j S[h,i,j]
    heads[h,i] = Σ_j A[h,i,j] v[h,j]
    y[i] = W_out (concat_h heads[h,i]) + b_out

Made of the syntax, so that it says what the file says; types only tell the indices of names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from . import syntax
from .core import Attend, Axis, Kind, Node, Reduce, Type
from .document import Defined, Document
from .elaborate.mentions import names_in
from .printer import format_expression
from .shapes import Decoded, Items, Scalar, Table
from .syntax import Expr
from .typed import TypedSpec

_REAL = Kind.REAL

# How tightly a piece of text holds together, loosest first.
_OR, _AND, _COMPARE, _SUM, _REDUCED, _QUOTIENT, _PRODUCT, _PREFIX, _POWER, _ATOM = range(10)

_SYMBOLS = {"<": "<", "<=": "≤", ">": ">", ">=": "≥", "==": "=", "!=": "≠"}
_REDUCTIONS = {"sum": "Σ", "max": "max", "min": "min", "mean": "mean", "any": "∃", "all": "∀"}
_ALONG_AXIS = {"softmax", "sparsemax", "entmax", "logsumexp", "argmax", "argmin", "count"}
_GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "epsilon": "ε",
    "eps": "ε",
    "sigma": "σ",
    "phi": "φ",
    "lambda": "λ",
    "mu": "μ",
    "nu": "ν",
    "tau": "τ",
    "theta": "θ",
    "sigmoid": "σ",
}
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


@dataclass(frozen=True)
class Text:
    """A piece of mathematical text and how tightly it holds together."""

    text: str
    level: int = _ATOM

    def at(self, level: int) -> str:
        """The text where this level is needed, in brackets if it is looser."""
        return f"({self.text})" if self.level < level else self.text


@dataclass(frozen=True)
class Scope:
    """What names mean: indices of each name, and which binding owns the maps that are made.

    indices   the index list of each name, such as `h,i`
    here      index letters of token sets; `x` is i and `context` is j unless an attend says else
    """

    spec: TypedSpec
    owner: str = ""
    indices: Mapping[str, str] = field(default_factory=dict)
    here: Mapping[str, str] = field(default_factory=lambda: {"x": "i", "context": "j"})

    def of(self, name: str) -> str:
        """The indices of a name, in brackets, or nothing."""
        found = self.indices.get(name)
        if found is None:
            kind = _type_of(self.spec, name)
            found = "" if kind is None else self.letters(kind)
        return f"[{found}]" if found else ""

    def letters(self, kind: Type) -> str:
        """`h,i` of real{b, h, x}; the batch is never written."""
        axes = [axis for axis in kind.ordered if axis.role != "batch"]
        return ",".join(self.letter(axis) for axis in axes)

    def letter(self, axis: Axis) -> str:
        return self.here.get(axis.name, axis.name)


def _type_of(spec: TypedSpec, name: str) -> Type | None:
    node = spec.bindings.get(name)
    if isinstance(node, Node):
        return node.type
    for table in (spec.inputs, spec.streams):
        if name in table:
            return table[name].type
    for held in (spec.weights, spec.states):
        if name in held:
            return Type(_REAL, frozenset(held[name].axes), held[name].dims)
    if name in ("x", "context") and name in spec.sets:
        return Type(_REAL, frozenset(spec.sets[name].axes))
    return None


def formula(document: Document, spec: TypedSpec) -> list[str]:
    """The equations of a spec, in the order in which they are computed."""
    scope = Scope(spec)
    lines: list[str] = []
    late: list[str] = []
    for name, defined in document.bindings.items():
        if name in spec.bindings or _is_used(document, name):
            part = list(_binding(name, defined, scope))
            (late if _needs(document, name, "heads") else lines).extend(part)
    if "score" in document.fields or "sources" in document.fields:
        fields = {name: _whole(item) for name, item in document.fields.items() if name != "out"}
        lines += _attend("heads", fields, scope)
    lines += late
    lines += _outputs(document, scope)
    lines += _losses(document, scope)
    lines += _updates(document, scope)
    macros = list(_macros(document))
    if any("[g," in line for line in lines):
        macros.insert(0, "g = ⌊h kv_heads / heads⌋")
    return [*lines, *(["where", *(f"  {line}" for line in macros)] if macros else [])]


def notation(expr: Expr, spec: TypedSpec, owner: str = "") -> str:
    """One expression as mathematical text."""
    return _text(expr, Scope(spec, owner)).text


def _needs(document: Document, name: str, wanted: str) -> bool:
    """Whether a binding needs another, be it through others."""
    todo, seen = [name], {name}
    while todo:
        for other in names_in(_whole(document.bindings[todo.pop()])):
            if other == wanted:
                return True
            if other in document.bindings and other not in seen:
                seen.add(other)
                todo.append(other)
    return False


def _is_used(document: Document, name: str) -> bool:
    values = [item.value for item in (*document.bindings.values(), *document.fields.values())]
    return any(_mentions(value, name) for value in values)


def _mentions(value: Decoded, name: str) -> bool:
    return any(item == name for item in names_in(value))


def _whole(defined: Defined) -> Decoded:
    """The value of a definition with `super` written out."""
    value, before = defined.value, defined.before
    if isinstance(value, syntax.Syntax) and before is not None:
        inner = _whole(before)
        if isinstance(inner, syntax.Syntax):
            return syntax.substitute(value, "super", inner)
    return value


# -- bindings and blocks --------------------------------------------------------------------


def _binding(name: str, defined: Defined, scope: Scope) -> Iterator[str]:
    value = _whole(defined)
    inside = replace(scope, owner=name)
    if isinstance(value, Table):
        yield from _block(name, value, inside)
    elif isinstance(value, syntax.Syntax):
        yield f"{_greek(name)}{scope.of(name)} = {_text(value, inside).text}"


def _block(name: str, table: Table, scope: Scope) -> Iterator[str]:
    kind, entry = next(iter(table.entries.items()))
    inner = entry.value
    if not isinstance(inner, Table):
        return
    fields = {key: item.value for key, item in inner.entries.items()}
    if kind == "attend":
        yield from _attend(name, fields, scope)
    elif kind in ("iterate", "recur"):
        yield from _loop(name, kind, fields, scope)
    elif kind == "use":
        yield f"{name} = {_use(fields, scope)}"
    else:
        yield from _stack(name, fields, scope)


def _attend(name: str, fields: Mapping[str, Decoded], scope: Scope) -> list[str]:
    """Scores, weights, result; each source of several has its own score and value."""
    node = scope.spec.bindings.get(name)
    lines: list[str] = []
    sources = fields.get("sources")
    tables = [fields]
    if isinstance(sources, Items):
        tables = [
            {key: entry.value for key, entry in item.entries.items()}
            for item in sources.items
            if isinstance(item, Table)
        ]
    marks = ["₀₁₂₃₄₅₆₇₈₉"[n % 10] for n in range(len(tables))] if len(tables) > 1 else [""]
    values = []
    for number, table in enumerate(tables):
        inside = _pair_scope(scope, node, number)
        inside = replace(inside, owner=name if name != "heads" else "")
        made, value = _source(name, table, inside, node, marks[number])
        lines += made
        values.append(value)
    inside = _pair_scope(scope, node, 0)
    tag = "" if name == "heads" else f"_{name}"
    indices = _pair_indices(inside, node)
    scores, weights = (_joined(letter, tag, marks) + indices for letter in "SA")
    lines.append(f"{weights} = {_normalized(fields, inside, scores)}")
    total = " + ".join(
        f"Σ_j A{tag}{mark}{indices} {value}" for mark, value in zip(marks, values, strict=True)
    )
    lines.append(f"{_greek(name)}{inside.of(name)} = {total}")
    return lines


def _joined(letter: str, tag: str, marks: list[str]) -> str:
    """`S`, or `[S₀; S₁]` where several sources stand under one normaliser."""
    names = [f"{letter}{tag}{mark}" for mark in marks]
    return names[0] if len(names) == 1 else f"[{'; '.join(names)}]"


def _source(
    name: str, fields: Mapping[str, Decoded], scope: Scope, node: Node | None, mark: str
) -> tuple[list[str], str]:
    """The lines of local bindings, of the score and of who sees whom; and the value."""
    lines = []
    tag = ("" if name == "heads" else f"_{name}") + mark
    local = fields.get("let")
    if isinstance(local, Table):
        for key, entry in local.entries.items():
            shown = _of(entry.value, scope)
            letters = "h,i,j" if "[h," in shown else "i,j"
            scope = replace(scope, indices={**scope.indices, key: letters})
            lines.append(f"{_greek(key)}[{letters}] = {shown}")
    score = _of(fields.get("score"), scope, "0", _SUM)
    if fields.get("prior") is not None:
        score = _plus(score, _of(fields["prior"], scope, "", _REDUCED))
    condition = ""
    if isinstance(fields.get("mask"), syntax.Syntax):
        shown = _of(fields["mask"], scope)
        condition = "" if shown in ("all", "true") else f"    if {shown}, else −∞"
    if isinstance(fields.get("at"), syntax.Syntax):
        condition = f"    for j in {_of(fields['at'], scope)}" + condition
    lines.append(f"S{tag}{_pair_indices(scope, node)} = {score}{condition}")
    return lines, _of(fields.get("value"), scope, "", _PRODUCT)


def _of(value: Decoded | None, scope: Scope, default: str = "", level: int = _OR) -> str:
    if isinstance(value, syntax.Syntax):
        return _text(value, scope).at(level)
    return default


def _pair_scope(scope: Scope, node: Node | None, number: int) -> Scope:
    """i over the queries and j over the keys of an attend; the edges of a list keep their names."""
    if not isinstance(node, Attend):
        return scope
    source = node.sources[min(number, len(node.sources) - 1)]
    listed = None if source.at is None else source.at.type.ref
    keys = source.axes[-1:] if listed is None else (listed,)
    here = {**scope.here, node.query.name: "i", **{axis.name: "j" for axis in keys}}
    return replace(scope, here=here)


def _pair_indices(scope: Scope, node: Node | None) -> str:
    if not isinstance(node, Attend):
        return "[i,j]"
    others = [a for a in node.type.ordered if a.role not in ("batch", "token", "joint")]
    return "[" + ",".join([*(axis.name for axis in others), "i", "j"]) + "]"


def _normalized(fields: Mapping[str, Decoded], scope: Scope, scores: str) -> str:
    value = fields.get("normalize")
    if not isinstance(value, syntax.Syntax):
        return f"softmax_j {scores}"
    name = syntax.Name(scores, span=value.span)
    return _text(syntax.substitute(value, "s", name), scope).text


def _loop(name: str, kind: str, fields: Mapping[str, Decoded], scope: Scope) -> Iterator[str]:
    over = fields.get("over" if kind == "recur" else "step")
    step = over.value if isinstance(over, Scalar) else _of(over, _without_indices(scope))
    yield f"{name}: for {'each token of' if kind == 'recur' else 'each'} {step}, with"
    for part, sign in (("carry", "⟵ at first"), ("let", "="), ("next", "⟵"), ("yield", "=")):
        table = fields.get(part)
        for key, entry in table.entries.items() if isinstance(table, Table) else ():
            if isinstance(entry.value, Table):
                yield from (f"  {line}" for line in _block(key, entry.value, scope))
            else:
                yield f"  {_greek(key)} {sign} {_of(entry.value, scope)}"


def _use(fields: Mapping[str, Decoded], scope: Scope) -> str:
    used = fields.get("spec")
    given = [
        f"{key}={_of(value, scope)}" for key, value in fields.items() if key not in ("spec", "with")
    ]
    return f"{used.value if isinstance(used, Scalar) else 'spec'}({', '.join(given)})"


def _stack(name: str, fields: Mapping[str, Decoded], scope: Scope) -> Iterator[str]:
    layers = fields.get("layers")
    shown = []
    for item in layers.items if isinstance(layers, Items) else ():
        if isinstance(item, Table):
            used, times = item.get("use"), item.get("times")
            word = used.value if isinstance(used, Scalar) else "layers"
            shown.append(f"{_of(times, scope)} × {word}" if times is not None else str(word))
    yield f"{name} = {' then '.join(shown)}, from {_of(fields.get('x'), scope)}"


def _outputs(document: Document, scope: Scope) -> Iterator[str]:
    defined = document.fields.get("out")
    if defined is None:
        return
    inside = replace(scope, owner="out")
    main = "out" if "y" in document.bindings else "y"
    for name, value in _results(defined).items():
        node = scope.spec.outputs.get(name)
        letters = scope.letters(node.type) if node is not None else ""
        head = main if name == "x" else name
        yield f"{head}{f'[{letters}]' if letters else ''} = {_of(value, inside)}"


def _results(defined: Defined) -> dict[str, Decoded]:
    """The results of a spec by name, `super` written out; `x` is the main one."""
    value = _whole(defined)
    before = {} if defined.before is None else _results(defined.before)
    if not isinstance(value, Table):
        return {"x": value}
    made = {name: entry.value for name, entry in value.entries.items()}
    main, old = made.get("x"), before.get("x")
    if isinstance(main, syntax.Syntax) and isinstance(old, syntax.Syntax):
        made["x"] = syntax.substitute(main, "super", old)
    return made


def _losses(document: Document, scope: Scope) -> Iterator[str]:
    """`loss_p = weight (mean_{b,i} value)`, with what a loss is averaged over."""
    for name, defined in document.sections.get("losses", {}).items():
        if name not in scope.spec.losses or not isinstance(defined.value, Table):
            continue
        inside = replace(scope, owner=name)
        value, weight = (defined.value.get(key) for key in ("value", "weight"))
        if not isinstance(value, syntax.Syntax):
            continue
        shown = _averaged(_text(value, inside), scope.spec.losses[name].value, inside)
        if isinstance(weight, syntax.Syntax):
            shown = _product(_text(weight, inside), shown)
        yield f"loss_{_greek(name)} = {shown.text}"


def _averaged(text: Text, node: Node, scope: Scope) -> Text:
    """The mean that makes a number of a loss, unless the spec takes one itself."""
    if not isinstance(node, Reduce) or node.op != "mean" or node in scope.spec.spans:
        return text
    return _over("mean", text, ",".join(scope.letter(axis) for axis in node.axes))


def _updates(document: Document, scope: Scope) -> Iterator[str]:
    for name, defined in document.sections.get("updates", {}).items():
        if isinstance(defined.value, syntax.Syntax):
            shown = _text(defined.value, replace(scope, owner=name)).text
            yield f"{_greek(name)}{scope.of(name)} ⟵ {shown}    after each training step"


_KNOWN_MACROS = {"softmax", "all"}


def _macros(document: Document) -> Iterator[str]:
    """Definitions of the macros that the equations mention, and of those that these mention."""
    macros = document.sections.get("macros", {})
    empty = Scope(TypedSpec(document.text("name")))
    done = {*_KNOWN_MACROS, *document.bindings}
    todo = [name for value in _values(document) for name in names_in(value)]
    while todo:
        name = todo.pop(0)
        if name in done or name not in macros:
            continue
        done.add(name)
        value = macros[name].value
        if isinstance(value, syntax.Syntax):
            head, sign, parameters = macros[name].name.partition("(")
            yield f"{_greek(head)}{sign}{parameters} = {_text(value, empty).text}"
            todo += names_in(value)


def _values(document: Document) -> Iterator[Decoded]:
    yield from (_whole(item) for item in document.bindings.values())
    yield from (_whole(item) for item in document.fields.values())
    for section in ("losses", "updates"):
        yield from (item.value for item in document.sections.get(section, {}).values())


# -- expressions ----------------------------------------------------------------------------


def _text(expr: Expr, scope: Scope) -> Text:
    match expr:
        case syntax.Number():
            return Text(repr(expr.value).replace("-", "−"), _ATOM if expr.value >= 0 else _PREFIX)
        case syntax.Bool():
            return Text("true" if expr.value else "false")
        case syntax.Name():
            return Text(f"{_greek(expr.name)}{scope.of(expr.name)}")
        case syntax.List():
            return Text(f"[{_list(expr.items, scope)}]")
        case syntax.Unary():
            sign = "¬" if expr.op == "not" else "−"
            return Text(sign + _text(expr.operand, scope).at(_PRODUCT), _PREFIX)
        case syntax.Logic():
            return _logic(expr, scope)
        case syntax.Compare():
            return _compare(expr, scope)
        case syntax.Binary():
            return _binary(expr, scope)
        case syntax.Call():
            return _call(expr, scope)
        case syntax.Read():
            return _read(expr, scope)
        case syntax.Member():
            return _member(expr, scope)


def _member(expr: syntax.Member, scope: Scope) -> Text:
    """`A[h,i,j]` for the weights of an attend; else `name.part[h,i]`."""
    operand, part = expr.operand, expr.name.name
    if not isinstance(operand, syntax.Name):
        return Text(f"{_text(operand, scope).at(_ATOM)}.{part}")
    node = scope.spec.bindings.get(operand.name)
    if isinstance(node, Attend) and part in ("weights", "scores"):
        tag = "" if operand.name == "heads" else f"_{operand.name}"
        letter = "A" if part == "weights" else "S"
        return Text(f"{letter}{tag}{_pair_indices(_pair_scope(scope, node, 0), node)}")
    return Text(f"{_greek(operand.name)}.{part}{scope.of(operand.name)}")


def _list(items: tuple[Expr, ...], scope: Scope) -> str:
    return ", ".join(_text(item, scope).text for item in items)


def _logic(expr: syntax.Logic, scope: Scope) -> Text:
    """A conjunction, without what is always true."""
    sign, level = (" ∧ ", _AND) if expr.op == "and" else (" ∨ ", _OR)
    operands = [item for item in expr.operands if expr.op == "or" or not _is_all(item)]
    if len(operands) == 1:
        return _text(operands[0], scope)
    return Text(sign.join(_text(item, scope).at(level + 1) for item in operands), level)


def _is_all(expr: Expr) -> bool:
    return isinstance(expr, syntax.Name) and expr.name == "all"


def _compare(expr: syntax.Compare, scope: Scope) -> Text:
    first, *rest = (_text(item, scope).at(_SUM) for item in expr.operands)
    pieces = [f" {_SYMBOLS[op]} {text}" for op, text in zip(expr.ops, rest, strict=True)]
    return Text(first + "".join(pieces), _COMPARE)


def _binary(expr: syntax.Binary, scope: Scope) -> Text:
    left, right = _text(expr.left, scope), _text(expr.right, scope)
    match expr.op:
        case "+":
            return Text(_plus(left.at(_SUM), right.at(_SUM)), _SUM)
        case "-":
            return Text(f"{left.at(_SUM)} − {right.at(_REDUCED)}", _SUM)
        case "*" | "@":
            return _product(left, right)
        case "//":
            return Text(f"⌊{left.at(_QUOTIENT)} / {right.at(_PREFIX)}⌋")
        case "%":
            return Text(f"{left.at(_PREFIX)} mod {right.at(_PREFIX)}", _QUOTIENT)
        case "**":
            return _power(left, right)
        case _:
            return Text(f"{left.at(_QUOTIENT)} {expr.op} {right.at(_PREFIX)}", _QUOTIENT)


def _plus(left: str, right: str) -> str:
    """`a − b` for a + -b."""
    return f"{left} − {right[1:]}" if right.startswith("−") else f"{left} + {right}"


def _product(left: Text, right: Text) -> Text:
    """`a b`; a cross where a number stands on the right, so that digits do not meet."""
    factor = right.at(_PREFIX)
    sign = " × " if factor[:1].isdigit() or factor[:1] == "−" else " "
    return Text(f"{left.at(_PRODUCT)}{sign}{factor}", _PRODUCT)


def _power(left: Text, right: Text) -> Text:
    digits = right.text.replace("−", "-")
    if digits.removeprefix("-").isdecimal():
        return Text(left.at(_ATOM) + digits.translate(_SUPERSCRIPTS), _POWER)
    return Text(f"{left.at(_ATOM)}^{right.at(_ATOM)}", _POWER)


def _read(expr: syntax.Read, scope: Scope) -> Text:
    """`q[h,i]`, whatever its own indices would be."""
    operand = expr.operand
    name = (
        _greek(operand.name)
        if isinstance(operand, syntax.Name)
        else _text(operand, scope).at(_ATOM)
    )
    kind = _type_of(scope.spec, operand.name) if isinstance(operand, syntax.Name) else None
    kept = ""
    if kind is not None:  # indices that are not read stay, such as the head
        axes = [a for a in kind.ordered if a.role in ("head", "group")]
        kept = "".join(f"{axis.name}," for axis in axes)
    return Text(f"{name}[{kept}{_list(expr.indices, scope).replace(', ', ',')}]")


def _call(expr: syntax.Call, scope: Scope) -> Text:
    name = expr.function.name
    bare = _without_indices(scope)
    args = [_text(item, bare if name in _ON_SETS else scope) for item in expr.args]
    keywords = {key.name: value for key, value in expr.keywords}
    over = keywords.get("over")
    if name == "cumsum" and over is not None:
        return _running(args[0], over, keywords, scope)
    if name == "linear":
        return _linear(expr, args[0], keywords, scope)
    if name in ("dot", "outer") and len(args) == 2:
        sign = "·" if name == "dot" else "⊗"
        return Text(f"{args[0].at(_PREFIX)} {sign} {args[1].at(_PREFIX)}", _QUOTIENT)
    if over is not None and name in (*_REDUCTIONS, *_ALONG_AXIS, "concat"):
        return _reduction(name, args[0], over, keywords.get("where"), scope)
    if name in _ALONG_AXIS and len(expr.args) == 2:
        return _reduction(name, args[0], expr.args[1], None, scope)
    shown = _special(name, args)
    if shown is not None:
        return shown
    given = [item.text for item in args]
    for key, value in expr.keywords:
        given.append(f"{key.name}={_text(value, bare if key.name in _SETS else scope).text}")
    return Text(f"{_greek(name)}({', '.join(given)})")


def _linear(expr: syntax.Call, arg: Text, keywords: Mapping[str, Expr], scope: Scope) -> Text:
    """`W_q x + b_q`, named as the parameters are."""
    named = keywords.get("as")
    owner = named.name if isinstance(named, syntax.Name) else scope.owner
    bias = keywords.get("bias")
    has_bias = not (isinstance(bias, syntax.Bool) and not bias.value)
    tag = f"_{_greek(owner)}" if owner else ""
    product = f"W{tag} {arg.at(_ATOM)}"
    return Text(f"{product} + b{tag}", _SUM) if has_bias else Text(product, _PRODUCT)


def _reduction(name: str, arg: Text, over: Expr, where: Expr | None, scope: Scope) -> Text:
    sign = _REDUCTIONS.get(name, name)
    items = over.items if isinstance(over, syntax.List) else (over,)
    letters = ",".join(_along(item, scope) for item in items)
    if where is not None:
        letters = f"{letters}: {_text(where, scope).text}"
    return _over(sign, arg, letters)


def _over(sign: str, arg: Text, letters: str) -> Text:
    below = "" if not letters else f"_{letters}" if len(letters) == 1 else f"_{{{letters}}}"
    inner = arg.text if arg.level == _REDUCED else arg.at(_PREFIX)
    return Text(f"{sign}{below} {inner}", _REDUCED)


def _running(arg: Text, over: Expr, keywords: Mapping[str, Expr], scope: Scope) -> Text:
    """`cumsum_j`; `cumsum_{<j}` without the place itself, `cumsum_{≥j}` from the end."""
    letters = _along(over, scope)
    flags = {key: item for key, item in keywords.items() if key != "over"}
    if all(isinstance(item, syntax.Bool) for item in flags.values()):
        backwards, without = (_is_true(flags.get(key)) for key in ("reverse", "exclusive"))
        sign = (">" if without else "≥") if backwards else ("<" if without else "")
        return _over("cumsum", arg, sign + letters)
    said = (f"{key}={_text(item, scope).text}" for key, item in flags.items())
    return _over("cumsum", arg, ", ".join([letters, *said]))


def _is_true(expr: Expr | None) -> bool:
    return isinstance(expr, syntax.Bool) and expr.value


def _along(item: Expr, scope: Scope) -> str:
    if isinstance(item, syntax.Name):
        return scope.here.get(item.name, item.name)
    return format_expression(item)


# Functions and arguments that take token sets, which have no indices.
_ON_SETS = {
    "length", "windows", "blocks", "segments", "take", "sort", "cross", "slots", "hierarchy",
    "token", "node",
}  # fmt: skip
_SETS = {"over", "onto", "by"}


def _without_indices(scope: Scope) -> Scope:
    """The scope in which token sets are named, not read."""
    return replace(scope, indices={**scope.indices, **dict.fromkeys(scope.spec.sets, "")})


_BARS = {"abs": "||", "floor": "⌊⌋", "ceil": "⌈⌉"}


def _special(name: str, args: list[Text]) -> Text | None:
    if name == "sqrt" and len(args) == 1:
        return Text(f"√{args[0].at(_ATOM)}", _POWER)
    if name in _BARS and len(args) == 1:
        return Text(f"{_BARS[name][0]}{args[0].text}{_BARS[name][1]}")
    if name == "where" and len(args) == 3:
        return Text(f"{{{args[1].text} if {args[0].text}, else {args[2].text}}}")
    if name in ("real", "int") and len(args) == 1:
        boolean = args[0].level <= _COMPARE
        return Text(f"[{args[0].text}]") if boolean else args[0]
    if name == "safe_div" and len(args) == 2:
        return Text(f"{args[0].at(_QUOTIENT)} / {args[1].at(_PREFIX)}", _QUOTIENT)
    if name == "concat" and len(args) > 1:
        return Text(f"[{'; '.join(item.text for item in args)}]")
    if name == "transpose" and len(args) == 1:
        return Text(f"{args[0].at(_ATOM)}ᵀ", _POWER)
    if name == "eye":
        return Text("I")
    return None


def _greek(name: str) -> str:
    return _GREEK.get(name, name)
