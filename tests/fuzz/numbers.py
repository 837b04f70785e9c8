"""Random numbers of pairs, as text, within the domains in which they are finite.

Every operator that kernels compute is drawn: over sums of features, products of queries and keys,
numbers by query, key, head and pair, tables, and positions.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

#: functions of any real; {a} is about 1 in size. Jumps are not at numbers where functions end: elu of what
#: is far below 0 is -1 or the float above it, which have two ceilings
UNARY = (
    "(-{a})",
    "exp(-abs({a}))",
    "exp(clip({a}, -4, 3))",
    "exp({a} / 4)",
    "expm1({a} / 3)",
    "expm1(-abs({a}))",
    "log(abs({a}) + 0.2)",
    "log(1 + exp(min({a}, 50)))",
    "log1p(abs({a}))",
    "log1p({a} * {a})",
    "sqrt(abs({a}) + 0.1)",
    "sqrt(0.5 + {a} * {a})",
    "abs({a})",
    "{a} * sign({a} - 0.3)",
    "({a} + floor({a} / 3 + 0.21))",
    "({a} - 0.2 * ceil({a} + 0.13))",
    "(0.3 * round(2 * {a}) + {a})",
    "real(int(3 * {a} + 0.4))",
    "tanh({a})",
    "sigmoid({a})",
    "relu({a})",
    "leaky_relu({a})",
    "leaky_relu({a}, 0.3)",
    "gelu({a})",
    "silu({a})",
    "elu({a})",
    "softplus({a})",
    "softplus(4 * {a})",
    "sin({a})",
    "cos({a})",
    "sin(20 * {a})",
    "erf({a})",
    "clip({a}, -1, 2)",
    "max({a}, 0.1)",
    "min({a}, 0.7)",
    "({a}) ** 2",
    "clip({a}, -20, 20) ** 3",
    "0.1 * clip({a}, -9, 9) ** 4",
    "({a}) ** 0",
    "(abs({a}) + 0.2) ** 1.5",
    "(abs({a}) + 0.2) ** -0.5",
    "2 ** clip({a}, -3, 3)",
    "1 / (1 + abs({a}))",
    "1 / ({a} * {a} + 0.5)",
    "(0.2 * (({a} + 0.17) % 1.5) + {a})",
    "detach({a})",
    "({a} + detach({a}))",
    "where({a} > 0, {a}, 2 * {a})",
    "where({a} <= 0.5, tanh({a}), 0.5)",
    "where(abs({a}) < 1, {a} * {a}, 2 * abs({a}) - 1)",
    "where({a} == {a}, {a}, 0)",
)
BINARY = (
    "({a} + {b})",
    "({a} - {b})",
    "{a} * {b}",
    "{a} * tanh({b})",
    "{a} / (1 + abs({b}))",
    "{a} / ({b} * {b} + 0.5)",
    "safe_div({a}, 1 + abs({b}))",
    "clip({a}, {b}, {b} + 1)",
    "clip({a}, -1, {b})",
    "safe_div({a}, round({b}))",
    "max({a}, {b})",
    "min({a}, {b})",
    "clip({a}, -1, 1) * {b}",
    "(abs({a}) + 0.3) ** tanh({b})",
    "where({a} > {b}, {a}, {b})",
    "where({a} >= 0 and {b} < 1, {a}, {b})",
    "where(not ({a} < {b}) or {a} != {a}, {a} - {b}, 0)",
    "log(exp(clip({a}, -9, 9)) + exp(clip({b}, -9, 9)))",
    "({a} - {b}) ** 2",
    "leaky_relu({a}, {b})",
    "({a} + ({a} + 0.17) // (abs({b}) + 0.3))",
    "({a} - ceil_div({a} + 0.13, abs({b}) + 0.3))",  # by 0 it is infinite, of the sign of that 0
    "({a} + 0.17) % (abs({b}) + 0.3)",
)
OPERATIONS = (*UNARY, *BINARY)
#: functions of a real whose derivative by features is worth its own look
FEATURES = (
    "tanh({a})",
    "sigmoid({a})",
    "silu({a})",
    "relu({a})",
    "gelu({a})",
    "elu({a})",
    "softplus({a})",
    "leaky_relu({a}, 0.1)",
    "abs({a})",
    "exp(-abs({a}))",
    "exp({a} / 4)",
    "log1p({a} * {a})",
    "cos({a})",
    "sin({a})",
    "({a}) ** 2",
    "erf({a})",
    "{a} / (1 + abs({a}))",
    "sqrt(0.1 + {a} * {a})",
    "max({a}, 0.2)",
    "clip({a}, -1, 1)",
    "where({a} > 0, {a}, 0.1 * {a})",
)


PAIRS = len(OPERATIONS) ** 2


@dataclass
class Numbers:
    """Draws reals of pairs.

    same   whether the keys are the queries' own tokens
    """

    rng: random.Random
    same: bool

    def score(self) -> str:
        """A score: mostly something that a query and a key make together."""
        depth = self.rng.choice([0, 0, 1, 1, 2, 3])
        made = self.real(depth, own=True)
        factor = self.rng.choice(["", "", "", "1 * ", "0.3 * ", "3 * ", "sharp * ", "100 * "])
        if factor == "100 * " and self.rng.random() < 0.5:
            factor = "3000 * "
        return f"{factor}({made})" if factor else made

    def pair(self, place: int) -> str:
        """One operation of another; the places 0 .. PAIRS - 1 are all there are."""
        outer, inner = divmod(place % PAIRS, len(OPERATIONS))
        made = OPERATIONS[inner].format(a=self.meeting(), b=self.leaf())
        return OPERATIONS[outer].format(a=made, b=self.leaf())

    def real(self, depth: int, own: bool = False) -> str:
        """A real of a pair; `own`: a query and a key meet in it."""
        if depth == 0:
            return self.meeting() if own or self.rng.random() < 0.5 else self.leaf()
        if self.rng.random() < 0.5:
            return self.rng.choice(UNARY).format(a=self.real(depth - 1, own))
        pair = [self.real(depth - 1, own), self.real(self.rng.randrange(depth))]
        self.rng.shuffle(pair)
        if self.rng.random() < 0.15:
            return f"where({self.truth()}, {pair[0]}, {pair[1]})"
        return self.rng.choice(BINARY).format(a=pair[0], b=pair[1])

    def meeting(self) -> str:
        """A sum over the features of a query and a key."""
        pick = self.rng.random()
        if pick < 0.4:
            return self.rng.choice(
                [
                    "dot(q, k) / sqrt(d_head)",
                    "dot(k, q) / d_head",
                    "dot(q2, k2) / 2",
                    "dot(q * u, k) / sqrt(d_head)",
                    "dot(tanh(q), exp(-abs(k))) / sqrt(d_head)",
                    "(dot(q, k) + dot(q2, k2)) / sqrt(d_head)",
                    "(dot(q, k) + dot(q, k + 1)) / sqrt(d_head)",
                ]
            )
        if pick < 0.55:
            return self.rng.choice(
                [
                    "-dot(q - k, q - k) / d_head",
                    "-sqrt(dot(q - k, q - k) + 0.1)",
                    "-sum(abs(q - k)) / d_head",
                    "sum(max(q, k)) / d_head",
                    "sum(min(q, k)) / d_head",
                    "exp(-dot(q - k, q - k) / d_head)",
                ]
            )
        if pick < 0.65:
            return self.rng.choice(
                [
                    "sum(tanh(first @ tanh(q + k))) / 3",
                    "dot(of_second, relu(second @ tanh(first @ (q + k) / d_head)))",
                    f"dot(of_second, second @ relu(first @ (q * {self.leaf()} + k)) / d_head)",
                    "sum(silu(joined @ concat(q2, k2))) / 2",
                    "dot(joined @ concat(k2, q2), joined @ concat(q2, k2)) / 6",
                ]
            )
        inner = self.features()
        form = self.rng.choice(["dot(u, {})", "dot({}, u)", "sum({})", "dot(u, {}) / sqrt(d_head)"])
        return form.format(self.rng.choice(FEATURES).format(a=inner))

    def of_features(self) -> str:
        """What other reductions make of features, and sums of what is made of other sums."""
        vector = self.features()
        inner = self.rng.choice(FEATURES).format(a=vector)
        meeting, leaf = self.meeting(), self.leaf()
        return self.rng.choice(
            [
                f"dot(u, tanh((q + k) * {meeting})) / sqrt(d_head)",
                f"sum(sigmoid({vector}) * tanh({meeting})) / d_head",
                f"sum(({inner}) * tanh({meeting} + {leaf})) / sqrt(d_head)",
                f"sum(tanh(first @ ({vector} * tanh({meeting})))) / 3",
                f"dot(of_second, second @ relu(first @ ({inner}) + tanh({meeting}))) / d_head",
                f"max({inner}, over=last)",
                f"min({vector}, over=last)",
                f"max(first @ ({vector}), over=last) / d_head",
                f"logsumexp({inner}, over=last)",
                f"logsumexp({vector}, over=last, where=q > k)",
                f"mean({inner}, over=last, where=q + u > k)",
                f"sum({inner}, over=last, where=u > 0) / d_head",
                f"real(count({vector} > 0.2, over=last)) / d_head * {leaf}",
                f"where(any({vector} > 1.3, over=last), {leaf}, {meeting})",
                f"where(all(q - k > -1.3, over=last), {leaf}, {meeting})",
                f"dot(u, layer_norm({vector}, affine=false, eps=0.1)) / sqrt(d_head)",
                f"dot(u, rms_norm({vector}, affine=false, eps=0.1)) / sqrt(d_head)",
                f"dot(u, unit({inner}, eps=0.1))",
                f"dot(softmax({vector}, last), u)",
                f"sum(tanh(concat(q, k) * {meeting})) / d_head",
                "dot(concat(q, k), concat(k, tanh(q))) / d_head",
                f"({inner})[({self.whole()}) % d_head]",
                f"max(by_e * {leaf}, over=e)",
                "min(by_e + by_query, over=e, where=(i + e) % 2 == 0 or e > 0) * by_key",
                f"real(argmax({inner})) / d_head * {leaf}",
                f"real(argmin({vector}, where=q > u)) / d_head",
                "real(sum(where(q > k, 1, -1), over=last)) / d_head",
                f"real(argmax(by_e * {leaf}, over=e))",
                self.of_matrices(),
                self.of_matrices(),
                self.of_matrices(),
                self.of_matrices(),
            ]
        )

    def of_matrices(self) -> str:
        """What is made of matrices of a query, of a key or of both."""
        vector = self.rng.choice(
            [
                "(rows_of_q @ k2)",
                "(rows_of_k @ q2)",
                "(q2 @ transpose(rows_of_k))",
                "max(rows_of_q @ transpose(rows_of_k), over=last)",
                "sum(rows_of_k @ transpose(rows_of_q), over=last)",
                f"(rows_of_q @ tanh(k2 + {self.leaf()}))",
                "sum(tanh(outer(q2, k2)), over=last)",
            ]
        )
        inner = self.rng.choice(FEATURES).format(a=vector)
        return self.rng.choice(
            [
                f"max({inner}, over=last)",
                f"min({vector}, over=last)",
                f"sum({inner}) / 3",
                f"mean({inner}, over=last, where={vector} < {self.leaf()})",
                f"logsumexp({inner}, over=last)",
                f"real(count({vector} > 0.2, over=last)) * {self.leaf()}",
                f"real(argmax({vector})) / 3",
                f"dot({inner}, {vector}) / 4",
                f"sum(rms_norm({vector}, affine=false, eps=0.1)) / 2",
                f"dot(softmax({vector}, last), {inner})",
                f"dot(rows_of_q, tanh(outer(rows_of_q @ k2, k2 + {self.leaf()}))) / 6",
                "sum(sum(tanh(outer(q2, k2)), over=last), over=last) / 9",
                "dot(of_second, tanh(q2 * (rows_of_q @ k2)[0])) / 3",
            ]
        )

    def features(self) -> str:
        """A vector of a pair, inside a sum."""
        return self.rng.choice(
            [
                "(q + k)",
                "(q + k)",
                "(q - k)",
                "(q + k + c)",
                "(q * k)",
                "(q * k + u)",
                f"(q * {self.leaf()} + k)",
                f"(q + k + {self.leaf()})",
                f"(u * {self.leaf()} + k * q)",
                "(tanh(q) - sigmoid(k))",
                "(2 * q + tanh(k + q))",
                f"{self.rng.choice(FEATURES).format(a='(q + k)')}",
            ]
        )

    def leaf(self) -> str:
        """A real that some token, head or pair has, or a table."""
        forms = [
            "by_query",
            "by_key",
            "by_head",
            "sharp",
            "real(i - j) / 20",
            "real(abs(i - j)) ** 0.5 / 4",
            "real(i % 3) * h",
            "1 / (1 + abs(i - j))",
            "by_head * (i - j) / 9",
            "2 ** -real(h + 1)",
            f"real({self.whole()}) / 8",
            f"rel[{self.place('wide')}]",
            f"rel[{self.place('wide')}]",
            f"flat[{self.place('wide')}]",
            f"grid[{self.place('4')}][{self.place('wide')}]",
            f"slots_of[token(mem, {self.whole()})]",
            f"slots_of[token(mem, {self.place('4')})]",
            f"q2[{self.place('3')}]",
            f"k2[{self.place('3')}]",
            "k2[clip(i - j, 0, 2)]",
            "pair_bias",
            "(by_query + by_key)",
            f"sum(by_e * ({self.whole()} % (e + 2)), over=e)",
            f"mean(tanh(by_e + by_query) * by_key, over=e, where=(i + e) % 3 {self.sign()} j % 3)",
            f"real(count(by_e * by_query {self.sign()} by_key, over=e))",
            "1.5",
        ]
        if self.same:
            forms += ["age[i]", "(age[i] - age[j])", "age[j]"]
        return self.rng.choice(forms)

    def whole(self) -> str:
        """A small int of a pair."""
        size = self.rng.randint(1, 6)
        return self.rng.choice(
            [
                "(i - j)",
                "abs(i - j)",
                f"(i - j) // {size}",
                f"(i - j) % {size}",
                f"(j - i) // -{size}",
                f"(j - i) % -{size}",
                f"ceil_div(i - j, {size})",
                f"min(i, j + {size})",
                f"max(i, j) % {size}",
                f"clip(i - j, -{size}, {size})",
                f"sign(i - j) * {size}",
                f"where(i > j, {size}, j - i)",
                f"(i * j) % {size}",
                f"(i - j) // (h + {size})",
                "-abs(j - i)",
                f"((i - j) % {size}) ** 2",
                f"((i - j) % 3 - 1) ** {size + 5}",
                f"int(real(i - j) / {size})",
                f"int(floor(real(i - j) / {size} + 0.5))",
                f"int(i > j) * {size}",
                f"(i + {size}) // (j + 1)",
            ]
        )

    def place(self, size: str) -> str:
        """A place in a table."""
        whole = self.whole()
        return self.rng.choice(
            [f"clip({whole} + {size} // 2, 0, {size} - 1)", f"({whole}) % {size}"]
        )

    def sign(self) -> str:
        return self.rng.choice(["<", "<=", ">", ">=", "==", "!="])

    def truth(self) -> str:
        """A bool of a pair."""
        size = self.rng.randint(1, 6)
        sign = self.sign()
        return self.rng.choice(
            [
                f"{self.whole()} {sign} {size}",
                f"not ({self.whole()} {sign} {size})",
                f"i > j or {self.whole()} {sign} 0",
                f"(i > j) {self.rng.choice(['==', '!='])} (j % {size} == 0)",
                f"by_query {sign} 0.1 * {size}",
                f"by_key + by_query {sign if sign not in ('==', '!=') else '<'} 0",
                "dot(q, k) > 0",
                f"any({self.whole()} {sign} e, over=e, where=j % {size} != e)",
                f"all(by_query * by_e {sign} by_key, over=e, where=i % {size} != e)",
            ]
        )
