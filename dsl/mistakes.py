"""The table of mistakes: what `attnc explain ATT120` says about each code.

ATT1xx text and YAML, ATT2xx the syntax of expressions, ATT3xx sections, keys and declarations,
ATT4xx names and inheritance, ATT5xx types, ATT6xx time and contracts, ATT7xx lowerings.
"""

from __future__ import annotations

from typing import NamedTuple


class Mistake(NamedTuple):
    """A title, why it is one, and an example before and after it is mended."""

    title: str
    explanation: str
    wrong: str
    right: str


MISTAKES: dict[str, Mistake] = {
    # Text and YAML
    "ATT101": Mistake(
        "No such file",
        "The path names nothing. Paths are relative to the working directory.",
        "attnc check aditive.yaml",
        "attnc check additive.yaml",
    ),
    "ATT102": Mistake(
        "A directory, not a file",
        "A spec is one file; a directory of specs is checked by naming its files.",
        "attnc check specs",
        "attnc check specs/*.yaml",
    ),
    "ATT103": Mistake(
        "Unreadable file",
        "The system refuses to open the file; its reason is part of the message.",
        "chmod 000 mine.yaml",
        "chmod 644 mine.yaml",
    ),
    "ATT104": Mistake(
        "File too large",
        "A spec has at most 256 KiB. Specs may come from anyone, so size is limited before "
        "anything is read.",
        "a spec with tables of numbers in it",
        "tables are weights or buffers with a shape",
    ),
    "ATT105": Mistake(
        "Not UTF-8",
        "Specs are UTF-8 text. The message names the first byte that is not, often a letter "
        "saved as Latin-1, or a UTF-16 file.",
        "iconv -t latin1 mine.yaml",
        "iconv -t utf-8 mine.yaml",
    ),
    "ATT106": Mistake(
        "Control character",
        "Control characters, NUL and lone carriage returns are not shown by editors and mean "
        "nothing here.",
        "doc: bell\x07",
        "doc: bell",
    ),
    "ATT107": Mistake(
        "Invisible character",
        "Characters that are invisible or reorder text, such as zero-width spaces and "
        'bidirectional marks, can make a spec read otherwise than it is shown ("Trojan '
        'source").',
        "doc: zero\u200bwidth",
        "doc: zero width",
    ),
    "ATT108": Mistake(
        "Empty file",
        "There is nothing in the file but comments or white space.",
        "# to be done",
        "attnc: 1",
    ),
    "ATT109": Mistake(
        "Not a mapping",
        "A spec is a mapping from sections to what they declare, at its top level.",
        "- attnc: 1",
        "attnc: 1",
    ),
    "ATT110": Mistake(
        "Several documents",
        "One file holds one spec; `---` begins another document.",
        "name: a\n---\nname: b",
        "name: a",
    ),
    "ATT111": Mistake(
        "Not valid YAML",
        "The YAML parser cannot go on. Most often a value needs quotes because it holds `: ` "
        "or begins with a sign that YAML gives a meaning.",
        "doc: Note: two colons",
        'doc: "Note: two colons"',
    ),
    "ATT112": Mistake(
        "Tab as indentation",
        "YAML indents with spaces only; a tab has no agreed width.",
        "dims:\n	d_align: 64",
        "dims:\n  d_align: 64",
    ),
    "ATT113": Mistake(
        "Nested too deep",
        "Lists and mappings nest at most 64 deep.",
        "let: " + "[" * 70 + "]" * 70,
        "let: [[]]",
    ),
    "ATT114": Mistake(
        "Too many values",
        "A file holds at most 10,000 values, counting each repeated by an alias as often as "
        "it is repeated: a few lines of aliases of aliases would otherwise fill the memory.",
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        "b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
        "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n"
        "d: [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]",
        "a: &a [x, x]\nb: [*a, *a]",
    ),
    "ATT115": Mistake(
        "An alias inside its own anchor",
        "A value cannot contain itself. Recursion is written `recur`, `iterate` or `stack`.",
        "a: &a [1, *a]",
        "a: [1]",
    ),
    "ATT116": Mistake(
        "Unknown alias",
        "`*name` repeats the value marked `&name` before it. An expression that begins with "
        "`*` is an alias to YAML.",
        "a: *scale",
        "a: &scale 2\nb: *scale",
    ),
    "ATT117": Mistake(
        "Anchor used twice",
        "Which of the two an alias means would depend on the order of lines, which means "
        "nothing in a spec.",
        "a: &n 1\nb: &n 2",
        "a: &n 1\nb: &m 2",
    ),
    "ATT118": Mistake(
        "Merge key",
        "`<<` is not part of YAML 1.2, and what it overrides is a puzzle. Specs share text "
        "through `extends` and `macros`.",
        "base: &base {a: 1}\nmore: {<<: *base, b: 2}",
        "base: {a: 1}\nmore: {a: 1, b: 2}",
    ),
    "ATT119": Mistake(
        "Tag",
        "`!` at the start of a value is a YAML tag, which can name types and code. None is "
        "part of the language; negation is `not`.",
        "mask: !causal",
        "mask: not causal",
    ),
    "ATT120": Mistake(
        "Key twice",
        "Of two equal keys YAML readers keep the last in silence. Here each stands once.",
        "score: dot(q, k)\nscore: 0",
        "score: dot(q, k)",
    ),
    "ATT121": Mistake(
        "Key is not a name",
        "Keys are plain text. A list, mapping or alias cannot be one.",
        "? [a, b]\n: 1",
        "ab: 1",
    ),
    "ATT122": Mistake(
        "Missing key",
        "A key is an empty text.",
        "dims: {'': 3}",
        "dims: {rounds: 3}",
    ),
    "ATT123": Mistake(
        "Expression cut by brackets",
        "Inside `{...}` and `[...]`, YAML takes commas and brackets for its own. An "
        "expression that has some must be quoted there, or stand on a line of its own.",
        "dims: {half: f[0]}",
        'dims: {half: "f[0]"}',
    ),
    # The syntax of expressions
    "ATT201": Mistake(
        "Missing expression",
        "A field that holds an expression is empty.",
        "score: ''",
        "score: dot(q, k)",
    ),
    "ATT202": Mistake(
        "Unexpected character",
        "The character begins nothing the language has. Expressions are made of names in "
        "lower case, numbers, brackets, `+ - * / // % @ **`, comparisons, `and`, `or` and "
        "`not`.",
        "score: dot(q, k) ^ 2",
        "score: dot(q, k) ** 2",
    ),
    "ATT203": Mistake(
        "Unexpected word or sign",
        "It has a meaning, but not at this place; the help says what would fit.",
        "score: dot(q k)",
        "score: dot(q, k)",
    ),
    "ATT204": Mistake(
        "Expression ends too early",
        "An operand or a closing bracket is missing. Inside `{...}` it may be that YAML took "
        "a comma of the expression for its own.",
        "score: dot(q, k",
        "score: dot(q, k)",
    ),
    "ATT205": Mistake(
        "Backslash",
        "Expressions have nothing to escape; a backslash in double quotes would also make the"
        " text differ from what is shown.",
        'score: "dot(q,\\tk)"',
        'score: "dot(q, k)"',
    ),
    "ATT206": Mistake(
        "Expression too long",
        "An expression has at most 4 KiB. Longer ones are read by nobody: name their parts "
        "under `let` or `macros`.",
        "score: q" + " + q" * 1100,
        "score: total",
    ),
    "ATT207": Mistake(
        "Expression too deep",
        "Operations and brackets nest at most 100 deep; a chain such as `a + b + c` nests "
        "once per operator.",
        "score: " + "(" * 120 + "q" + ")" * 120,
        "score: q",
    ),
    "ATT208": Mistake(
        "Number out of range",
        "Integers have 64 bits. Other numbers are doubles, up to 1.8e308 and down to 5e-324.",
        "score: 1e999",
        "score: 1e30",
    ),
    "ATT209": Mistake(
        "Not a function",
        "Only a name can be called. A product needs its `*`.",
        "score: 2(q + k)",
        "score: 2 * (q + k)",
    ),
    "ATT210": Mistake(
        "Unnamed argument after a named one",
        "Arguments without a name come first, as in Python.",
        "score: sum(over=j, q)",
        "score: sum(q, over=j)",
    ),
    "ATT211": Mistake(
        "Named argument twice",
        "Each name is given once in a call.",
        "score: sum(q, over=i, over=j)",
        "score: sum(q, over=j)",
    ),
    # Time and contracts
    "ATT601": Mistake(
        "The future gets in",
        "The spec declares `causality: strict`, that no output changes when anything after it "
        "does, and there is a way from a later token to an output; the notes follow it. "
        "Sums, means, sorts and lengths reveal later tokens as much as keys do.",
        "causality: strict\nlet:\n  all_of_it: mean(x, over=x)",
        "causality: strict\nlet:\n  so_far: cumsum(x, over=x) / (i + 1)",
    ),
    "ATT602": Mistake(
        "Values of the future get in",
        "The spec declares `causality: masked`: what is chosen and how much it weighs may "
        "depend on later tokens, but no value of a later token may enter an output.",
        "causality: masked\nmask: all",
        "causality: masked\nmask: causal",
    ),
    "ATT603": Mistake(
        "Not proved to be causal",
        "Nothing shows that the token read is not after i, because data choose it or the "
        "condition is beyond linear arithmetic. What is not proved is refused; to conjoin "
        "`causal` hides nothing where the spec is right, and is the proof.",
        "causality: strict\nat: chosen",
        "causality: strict\nat: chosen\nmask: causal",
    ),
}
