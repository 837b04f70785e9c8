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


_HEAD = "attnc: 1\nname: mine\n"


def whole(example: str) -> str:
    """An example as the text of a spec: those that begin otherwise get the first two lines."""
    return example if example.startswith("attnc:") else _HEAD + example


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
    # Sections, keys and declarations
    "ATT301": Mistake(
        "Unknown key",
        "No such section or field exists in this place. A key that is not understood would "
        "change nothing, so it is refused.",
        "scores: dot(q, k)",
        "score: dot(q, k)",
    ),
    "ATT302": Mistake(
        "Wrong kind of value",
        "Another kind of value stands here than the key takes: a text for a number, a list for "
        "a mapping, two blocks for one. Quoted numbers are texts.",
        "weights: {u: 3}",
        "weights: {u: {shape: [3]}}",
    ),
    "ATT303": Mistake(
        "Missing key",
        "Something that has no default is not said: `attnc` and `name` in every spec, the `shape` "
        "of a weight, `score` and `value` of an attention.",
        "weights: {u: {init: zeros}}",
        "weights: {u: {shape: [h], init: zeros}}",
    ),
    "ATT304": Mistake(
        "Not one of the choices",
        "The key takes one of a few words; the message lists them.",
        "weights: {u: {shape: [h], init: zero}}",
        "weights: {u: {shape: [h], init: zeros}}",
    ),
    "ATT305": Mistake(
        "Not a name",
        "Names are lower-case letters, digits and underscores, and begin with a letter. They "
        "become names of parameters, so nothing else is let in.",
        "dims: {Rounds: 3}",
        "dims: {rounds: 3}",
    ),
    "ATT306": Mistake(
        "Unsupported version",
        "The spec is written in a version of the language that this attnc does not read.",
        "attnc: 2\nname: mine",
        "attnc: 1\nname: mine",
    ),
    "ATT307": Mistake(
        "Value out of its limits",
        "A dim or number breaks a limit: its own `min`, `max`, `multiple_of` or `one_of`, or that "
        "d_model is divisible by heads, that sizes are at least 1 and rates below 1.",
        "dims: {window: {default: 5, multiple_of: 2}}",
        "dims: {window: {default: 6, multiple_of: 2}}",
    ),
    "ATT308": Mistake(
        "Reserved name",
        "i, j, b, h, g, s, x, context, heads and super have a meaning in every spec. Names of "
        "arguments cannot be words of Python, either.",
        "weights: {s: {shape: [h]}}",
        "weights: {slope: {shape: [h]}}",
    ),
    "ATT309": Mistake(
        "Declared twice",
        "Dims, axes, inputs, weights and bindings share one scope, so that a name means one thing.",
        "dims: {w: 3}\nweights: {w: {shape: [h]}}",
        "dims: {n: 3}\nweights: {w: {shape: [h]}}",
    ),
    "ATT310": Mistake(
        "A dim defined by itself",
        "Dims may use each other in any order, but not in a circle.",
        "dims: {width: depth + 1, depth: width - 1}",
        "dims: {width: 4, depth: width - 1}",
    ),
    "ATT311": Mistake(
        "Two learned maps of one name",
        "Learned maps are named after the binding they stand in. The second in one expression "
        "needs a name of its own, by `as=`; the same `as` twice shares the weights.",
        "score: dot(linear(q, to=[d_head]), linear(k, to=[d_head]))",
        "score: dot(linear(q, to=[d_head], as=left), linear(k, to=[d_head], as=right))",
    ),
    "ATT312": Mistake(
        "No such dim to choose",
        "A dim is chosen, by `with:` or by the call, that the spec does not declare, or that it "
        "derives from others.",
        "extends: softmax\nlet: {y: {use: {spec: sliding_window, with: {lft: 3}, x: x}}}\nout: y",
        "extends: softmax\nlet: {y: {use: {spec: sliding_window, with: {left: 3}, x: x}}}\nout: y",
    ),
    # Names and inheritance
    "ATT313": Mistake(
        "A stream that the block must treat",
        "The spec in `use` has a second stream that its block normalises and adds to, as it does "
        "to x. Only the block can say how: pass the stream on by name, and give its new value in "
        "`out`.",
        """attnc: 1
name: packed_block
let:
  attended:
    use: {spec: luna, x: layer_norm(x)}
out: x + attended
""",
        """attnc: 1
name: packed_block
tokens:
  packed: slots(16)
weights:
  start: {shape: [packed, d_model], init: normal}
streams:
  p: {over: packed, dims: [d_model], first: start}
let:
  attended:
    use: {spec: luna, x: "layer_norm(x, as=norm_x)", p: p}
out:
  x: x + attended.x
  p: layer_norm(p + attended.p, as=norm_p)
""",
    ),
    "ATT401": Mistake(
        "Unknown name",
        "The name is declared nowhere: not in this spec, not in those it extends, and it is no "
        "macro of the prelude.",
        "score: dot(q, kk)",
        "score: dot(q, k)",
    ),
    "ATT402": Mistake(
        "No such spec",
        "A spec is found by name beside the file that names it, else in the library.",
        "extends: sofmax",
        "extends: softmax",
    ),
    "ATT403": Mistake(
        "A spec that extends or uses itself",
        "Following `extends` or `use` from file to file leads back to where it began.",
        "a.yaml has `extends: b`, and b.yaml `extends: a`",
        "a.yaml has `extends: b`, and b.yaml `extends: softmax`",
    ),
    "ATT404": Mistake(
        "A binding defined by itself",
        "Bindings may use each other in any order, but not in a circle. What changes from step "
        "to step is carried by `recur` or `iterate`.",
        "let: {a: c + 1, c: a + 1}\nscore: dot(q, k) + a",
        "let: {a: c + 1, c: 2}\nscore: dot(q, k) + a",
    ),
    "ATT405": Mistake(
        "Wrong number of arguments to a macro",
        "A macro takes the parameters that its head names; those with a default may be left out.",
        "mask: band(3)",
        "mask: band(3, 0)",
    ),
    "ATT406": Mistake(
        "A macro that calls itself",
        "Macros are written out where they are used, so they cannot recurse.",
        "macros: {twice(u): twice(u + u)}\nscore: twice(dot(q, k))",
        "macros: {twice(u): u + u}\nscore: twice(dot(q, k))",
    ),
    "ATT407": Mistake(
        "`super` without a parent",
        "`super` is what an extended spec has in the same place, and there is nothing.",
        "let: {bias: super + 1}\nscore: dot(q, k) + bias",
        "score: super + 1",
    ),
    "ATT408": Mistake(
        "Nothing to remove",
        "`null` takes away what an extended spec defines; none defines this.",
        "project: {kk: null}",
        "mask: null",
    ),
    "ATT409": Mistake(
        "Expands too far",
        "Macros, rounds of `iterate` and specs in specs are written out. What comes of it is "
        "limited in size and depth, so that no text can fill the memory.",
        "dims: {n: 1000000}\naxes: {r: n}\nlet:\n  y:\n    iterate:\n      step: r\n"
        "      carry: {a: 0}\n      next: {a: a + i}",
        "dims: {n: 10}\naxes: {r: n}\nlet:\n  y:\n    iterate:\n      step: r\n"
        "      carry: {a: 0}\n      next: {a: a + i}",
    ),
    "ATT410": Mistake(
        "Not a function",
        "No function or macro has this name. Values are read with `[..]`, not called.",
        "score: dott(q, k)",
        "score: dot(q, k)",
    ),
    "ATT411": Mistake(
        "Unknown named argument",
        "The function, macro or spec has no parameter of this name.",
        "score: sum(q * k, ovr=d_head)",
        "score: sum(q * k, over=d_head)",
    ),
    "ATT412": Mistake(
        "Wrong number of arguments",
        "The help shows how the function is called.",
        "score: dot(q)",
        "score: dot(q, k)",
    ),
    "ATT413": Mistake(
        "No such part",
        "An attention has `.lse`, `.weights` and `.scores`; a loop its carry and what it yields; "
        "a tree `.level`, `.index`, `.first` and `.last`.",
        "let: {a: heads.lsee}",
        "let: {a: heads.lse}",
    ),
    # Types
    "ATT501": Mistake(
        "Wrong kind",
        "Numbers and truth values do not mix by themselves: `real(..)` and `int(..)` make numbers, "
        "comparisons make truth values.",
        "score: dot(q, k) + (i == j)",
        "score: dot(q, k) + real(i == j)",
    ),
    "ATT502": Mistake(
        "Feature dims do not fit",
        "Pointwise operators take equal feature dims, or none on one side; `dot` and `@` contract "
        "dims, `outer` makes products. Dims are compared by name, not by their present size.",
        "score: dot(q, concat(k, k))",
        "score: dot(concat(q, q), concat(k, k))",
    ),
    "ATT503": Mistake(
        "A mask that is no truth value",
        "A mask is true where attention is allowed. Numbers that are added belong to the score.",
        "mask: i - j",
        "mask: i >= j",
    ),
    "ATT504": Mistake(
        "Read at the query or at the key?",
        "The value is there for queries and keys, because they are the same tokens; `[i]` or "
        "`[j]` says which is meant.",
        "keys: x\nscore: dot(q, q)\nvalue: q[j]",
        "keys: x\nscore: dot(q[i], q[j])\nvalue: q[j]",
    ),
    "ATT505": Mistake(
        "No such axis",
        "What should be reduced, chosen or made along an axis does not have it, or has several.",
        "score: dot(q, k) + mean(dot(q, q), over=g)",
        "score: dot(q, k) + mean(dot(q, q), over=h)",
    ),
    "ATT506": Mistake(
        "An index that does not fit",
        "An index is an int: a ref into an axis that the field has (i, j, the result of top, "
        "argmax or token), or a place in its first feature dim.",
        "score: dot(q, k)[0]",
        "score: q[0] * k[0]",
    ),
    "ATT507": Mistake(
        "An index that may leave the table",
        "A place in a feature dim must be in range whatever the lengths are; `clip` makes it so.",
        "weights: {t: {shape: [8]}}\nscore: dot(q, k) + t[j - i]",
        "weights: {t: {shape: [8]}}\nscore: dot(q, k) + t[clip(j - i, 0, 7)]",
    ),
    "ATT508": Mistake(
        "Result of the wrong type",
        "`out` is real{b, x}[d_model]; streams and buffers keep the type that they have.",
        "extends: softmax\nout: heads",
        "extends: softmax\nout: linear(concat(heads, over=h))",
    ),
    "ATT509": Mistake(
        "A carry that does not fit",
        "`next` gives each carried value anew, with the same kind and feature dims.",
        "axes: {r: 3}\nlet: {y: {iterate: {step: r, carry: {a: 0}, next: {c: a + 1}}}}",
        "axes: {r: 3}\nlet: {y: {iterate: {step: r, carry: {a: 0}, next: {a: a + 1}}}}",
    ),
    "ATT510": Mistake(
        "Examples of a batch are mixed",
        "A reduction over b makes the result of an example depend on the others. Only losses and "
        "updates may have one, or a spec that declares `batch: coupled`.",
        "score: dot(q, k) + mean(dot(q, q), over=b)",
        "score: dot(q, k) + mean(dot(q, q), over=h)",
    ),
    "ATT511": Mistake(
        "Not known before the call",
        "Sizes and options are made of dims and numbers, since weights are made from them.",
        "axes: {r: 2.5}",
        "axes: {r: 2}",
    ),
    "ATT514": Mistake(
        "A list is not a value",
        "`[a, b]` stands where names or sizes are listed; `concat(a, b)` joins values.",
        "score: '[q, k]'",
        "score: dot(q, k)",
    ),
    "ATT515": Mistake(
        "A record is not a value",
        "A loop with several results has no single value; one of its parts is read by name.",
        "axes: {r: 3}\nlet: {y: {iterate: {step: r, carry: {a: 0, c: 1}, next: {a: c, c: a}}}}\n"
        "score: dot(q, k) + y",
        "axes: {r: 3}\nlet: {y: {iterate: {step: r, carry: {a: 0, c: 1}, next: {a: c, c: a}}}}\n"
        "score: dot(q, k) + y.a",
    ),
    "ATT516": Mistake(
        "A token set, or none, where the other is meant",
        "A token set is not an array: fields are read over it. `queries`, `keys` and functions on "
        "tokens take sets, not arrays.",
        "tokens: {blk: 'blocks(x, size=4)'}\nscore: dot(q, k) + blk",
        "tokens: {blk: 'blocks(x, size=4)'}\nscore: dot(q, k) + length(blk)",
    ),
    "ATT517": Mistake(
        "Tokens without position",
        "Slots stand nowhere in the sequence; `slot(j)` is their place in the set.",
        "tokens: {mem: slots(4)}\nweights: {u: {shape: [mem, d_head]}}\n"
        "let: {y: {attend: {keys: mem, mask: j < 2, score: 'dot(q, u)', value: u}}}",
        "tokens: {mem: slots(4)}\nweights: {u: {shape: [mem, d_head]}}\n"
        "let: {y: {attend: {keys: mem, mask: slot(j) < 2, score: 'dot(q, u)', value: u}}}",
    ),
    "ATT518": Mistake(
        "No key here",
        "With several sources, `normalize` runs over all their keys together, which have no "
        "position in common; j stands only in `over=j` there.",
        "sources:\n- {score: 'dot(q, k)', value: v}\n- {score: 0 * i, value: v}\n"
        "normalize: softmax(s - j, j)",
        "sources:\n- {score: 'dot(q, k)', value: v}\n- {score: 0 * i, value: v}\n"
        "normalize: softmax(s, j)",
    ),
    "ATT519": Mistake(
        "Weights of several sources",
        "With several sources there are several key sets, so weights and scores are no one array.",
        "sources:\n- {score: 'dot(q, k)', value: v}\n- {score: 0 * i, value: v}\n"
        "let: {a: heads.weights}",
        "sources:\n- {score: 'dot(q, k)', value: v}\n- {score: 0 * i, value: v}\n"
        "let: {a: heads.lse}",
    ),
    "ATT520": Mistake(
        "A score that depends on nothing",
        "Every visible key gets the same weight. That is an average, and legal, but seldom meant.",
        "let: {y: {attend: {score: 0, value: v}}}",
        "let: {y: {attend: {score: 'dot(q, k)', value: v}}}",
    ),
    "ATT521": Mistake(
        "A divisor that may be zero",
        "Nothing keeps the divisor from zero, where the quotient is infinite or not a number.",
        "score: dot(q, k) / dot(q, q)",
        "score: safe_div(dot(q, k), dot(q, q))",
    ),
    "ATT522": Mistake(
        "Division by zero",
        "The divisor is the number 0.",
        "score: dot(q, k) / 0",
        "score: dot(q, k) / 2",
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
