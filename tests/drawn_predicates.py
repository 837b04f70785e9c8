"""Random masks over pairs of tokens: as the language writes them, and as numpy computes them.

The second is what the first means, written down beside it and by other means than the compiler's.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from masks import FORMS, Drawing

HEADS = 2
LABELS = (0, 2)
HEADER = """attnc: 1
name: drawn
context: {context}
axes: {{e: 3}}
inputs:
  label: {{type: int, over: x, default: 0, range: [0, 2]}}
  flag: {{type: bool, over: x, default: true}}
mask: "{mask}"
"""


class Text(NamedTuple):
    """An expression in the language, and in numpy."""

    spec: str
    numpy: str


NUMPY = {**FORMS, "and": "({}) & ({})", "or": "({}) | ({})", "not": "~({})"}


@dataclass
class Masks(Drawing[Text]):
    """Draws masks; tables: inputs over x may be read, at keys only where context is x."""

    tables: bool
    same: bool

    def number(self, token: str) -> Text:
        """An int that one token says."""
        size, other = self.size(), self.size()
        alike = [
            token,
            f"{token} % {size}",
            f"{token} // {size}",
            f"({token} + {other}) // {size} % {other}",
            f"abs({token} - {other})",
            f"clip({token}, {other}, {other + size})",
            f"min({token}, {other}) * {size}",
            f"max({token} - {size}, {other})",
            f"(h + 1) * {token}",
            f"{token} % (h + {size})",
            f"({token} - {other}) % {size}",
            f"where({token} % {size} == 0, {token}, {other})",
            f"-{token}",
        ]
        forms = [Text(form, form) for form in alike]
        if self.tables and (token == "i" or self.same):
            forms += [Text(form, form) for form in (f"label[{token}]", f"label[{token}] * {size}")]
        return self.rng.choice(forms)

    def of_token(self, token: str) -> Text:
        number, size = self.number(token), self.size()
        comparison = self.comparison()
        forms = [
            Text(*(f"{item} {comparison} {size}" for item in number)),
            Text(*(f"({item}) % {size} == 0" for item in number)),
        ]
        if self.tables and (token == "i" or self.same):
            forms.append(Text(f"flag[{token}]", f"flag[{token}]"))
        return self.rng.choice(forms)

    def of_pair(self) -> Text:
        size, other, comparison = self.size(), self.size(), self.comparison()
        alike = [
            "j <= i",
            "j < i",
            f"i // {size} == j // {size}",
            f"i // {size} >= j // {size}",
            f"i // {size} > j // {size}",
            f"i % {size} == j % {size}",
            f"abs(i - j) <= {size}",
            f"(i - j) % {size} == 0",
            f"(i - j) % {size} < {other}",
            f"(i - j) % (h + {size}) == 0",
            f"i * {size} - j * {other} <= 0",
            f"(i + j) // {size} % 2 == 0",
            f"i * j > {size * other}",
            f"j {comparison} i + {size}",
            f"j {comparison} i - {size}",
            f"j < {size}",
        ]
        forms = [Text(form, form) for form in alike]
        forms += [
            Text(f"i - {size} <= j <= i", f"(i - {size} <= j) & (j <= i)"),
            Text(f"i - {size} <= j <= i + {other}", f"(i - {size} <= j) & (j <= i + {other})"),
            Text(
                f"any(i - j == {size} * e, over=e)",
                "|".join(f"(i - j == {size} * {e})" for e in range(3)),
            ),
            Text(
                f"any((i + e) % {size} == j % {other}, over=e)",
                "|".join(f"((i + {e}) % {size} == j % {other})" for e in range(3)),
            ),
            Text(f"pos(token(context, j + {size})) <= i", f"j + {size} <= i"),
        ]
        if self.tables and self.same:
            tables = ("label[i] == label[j]", "label[i] <= label[j]", "label[i] != label[j]")
            forms += [Text(form, form) for form in tables]
            after = f"where(i + {size} < n, label[min(i + {size}, n - 1)], 0)"
            forms.append(Text(f"label[token(x, i + {size})] == label[j]", f"{after} == label[j]"))
        return self.rng.choice(forms)

    def comparing(self) -> Text:
        sign = self.comparison()
        pairs = zip(self.number("i"), self.number("j"), strict=True)
        return Text(*(f"{left} {sign} {right}" for left, right in pairs))

    def joined(self, form: str, *parts: Text) -> Text:
        specs, numpys = zip(*parts, strict=True)
        return Text(FORMS[form].format(*specs), NUMPY[form].format(*numpys))


def spec_text(mask: Text, same: bool) -> str:
    """A spec with the mask."""
    return HEADER.format(context="same" if same else "memory", mask=mask.spec)


FUNCTIONS: dict[str, Any] = {
    "where": np.where,
    "abs": np.abs,
    "clip": np.clip,
    "min": np.minimum,
    "max": np.maximum,
    "__builtins__": {},
}


def grid(mask: Text, n: int, m: int, inputs: Mapping[str, Any]) -> Any:
    """The mask at every head, query and key."""
    i, j = np.arange(n)[:, None], np.arange(m)[None, :]
    found = []
    for head in range(HEADS):
        value = eval(mask.numpy, {**FUNCTIONS, **inputs, "i": i, "j": j, "h": head, "n": n})
        found.append(np.broadcast_to(np.asarray(value, bool), (n, m)))
    return np.stack(found)


def random_inputs(rng: random.Random, n: int) -> dict[str, Any]:
    """Labels and flags for a length: alike, sorted, or any."""
    kind = rng.choice(["zeros", "sorted", "any"])
    labels = [0 if kind == "zeros" else rng.randint(*LABELS) for _ in range(n)]
    labels = sorted(labels) if kind == "sorted" else labels
    share = rng.choice([0, 0.5, 1])
    return {"label": np.array(labels), "flag": np.array([rng.random() < share for _ in labels])}
