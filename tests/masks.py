"""Random masks over pairs of tokens, as the language writes them."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

FORMS = {
    "and": "({}) and ({})",
    "or": "({}) or ({})",
    "not": "not ({})",
    "where": "where({}, {}, {})",
}


@dataclass
class Drawing(ABC, Generic[T]):
    """Draws masks in some notation, put together of conditions on a token and on a pair."""

    rng: random.Random

    def size(self) -> int:
        return self.rng.randint(1, 6)

    def comparison(self) -> str:
        return self.rng.choice(["<", "<=", ">", ">=", "==", "!="])

    @abstractmethod
    def of_token(self, token: str) -> T: ...

    @abstractmethod
    def of_pair(self) -> T: ...

    @abstractmethod
    def comparing(self) -> T:
        """Any number of the query against any of the key."""

    @abstractmethod
    def joined(self, form: str, *parts: T) -> T:
        """Masks by one of FORMS as one."""

    def mask(self, depth: int) -> T:
        if depth == 0 or self.rng.random() < 0.2:
            pick = self.rng.random()
            if pick < 0.5:
                return self.of_pair()
            return self.comparing() if pick < 0.75 else self.of_token(self.rng.choice("ij"))
        left, right = self.mask(depth - 1), self.mask(depth - 1)
        match self.rng.randrange(8):
            case 0 | 1 | 2:
                return self.joined("and", left, right)
            case 3 | 4 | 5:
                return self.joined("or", left, right)
            case 6:
                return self.joined("not", left)
        return self.joined("where", self.of_token(self.rng.choice("ij")), left, right)


@dataclass
class Masks(Drawing[str]):
    """Draws masks over pairs of tokens, as text.

    tables   whether fields over x and context may be read (not where the tokens are others)
    """

    tables: bool = True

    def number(self, token: str) -> str:
        """An int that one token says."""
        place, size, other = token, self.size(), self.size()
        forms = [
            place,
            f"{place} % {size}",
            f"{place} // {size}",
            f"({place} + {other}) // {size} % {other}",
            f"abs({place} - {other})",
            f"clip({place}, {other}, {other + size})",
            f"min({place}, {other}) * {size}",
            f"(h + 1) * {place}",
            f"{place} % (h + {size})",
            f"{place} // (h + {size})",
            f"where({place} % {size} == 0, {place}, {other})",
            f"int(real({place}) / {size})",
            f"-{place}",
            f"slot({place})",
        ]
        if self.tables:
            forms += [f"label[{place}]", f"chosen[{place}]", f"label[{place}] % {size}"]
        return self.rng.choice(forms)

    def of_token(self, token: str) -> str:
        forms = [
            f"{self.number(token)} {self.comparison()} {self.size()}",
            f"{self.number(token)} % {self.size()} == 0",
        ]
        if self.tables:
            forms += [f"flag[{token}]", f"part[{token}] > 0", f"chosen[{token}] == -1"]
        return self.rng.choice(forms)

    def of_pair(self) -> str:
        size, other = self.size(), self.size()
        forms = [
            "j <= i",
            f"i - {size} <= j <= i",
            f"i - {size} <= j <= i + {other}",
            f"abs(i - j) <= {size}",
            f"i // {size} == j // {size}",
            f"i // {size} >= j // {size}",
            f"i % {size} == j % {size}",
            f"(i - j) % {size} == 0",
            f"(i - j) % {size} < {other}",
            f"(i - j) % (h + {size}) == 0",
            f"i * {size} - j * {other} <= 0",
            f"(i + j) // {size} % 2 == 0",
            f"i * j > {size * other}",
            f"real(i - j) / {size} <= {other}",
            f"any(i - j == {size} * e, over=e)",
            f"any((i + e) % {size} == j % {other}, over=e)",
        ]
        if self.tables:
            forms += [
                "label[i] == label[j]",
                "label[i] <= label[j]",
                "part[i] <= part[j]",
                f"part[i] + part[j] > {size} / 4",
                "chosen[i] == chosen[j]",
                "any(best[i] == pos(j), over=e)",
                f"any(best[i] // {size} == j // {size}, over=e)",
            ]
        return self.rng.choice(forms)

    def comparing(self) -> str:
        return f"{self.number('i')} {self.comparison()} {self.number('j')}"

    def joined(self, form: str, *parts: str) -> str:
        return FORMS[form].format(*parts)
