"""How every spec that claims less than quadratic time grows, and from where on it beats dense forms.

    python benchmarks/scaling.py                      # the library, into scaling.json
    python benchmarks/scaling.py swin nsa             # these anew
    python benchmarks/scaling.py --table              # what was measured, as Markdown

One `attnc bench --scaling SPEC` after the other, each in a process of its own and written as soon as it is there: a sweep that was stopped goes on where it was, a spec that fails is tried again. N = 512 .. 16384, one thread, d_model 64, one head.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attnc
from attnc.dsl import api
from attnc.runtime.measurement.growth import FIT_FROM, TOLERANCE, exponent

LONGEST = 16384
#: an image as wide as before and higher
IMAGE = ("size=8", "width=64", "height=N/64")
#: dims without which a spec has no meaning at such lengths
DIMS = {
    "swin": IMAGE,
    "swin_v2": IMAGE,
    "learned_positions": ("max_length=N",),
    "linformer": ("length_max=N",),
    "sinkhorn": ("blocks_max=N/64",),
    "sinkhorn_causal": ("blocks_max=N/64",),
    "routing": ("heads=2",),  # one of them local
}
#: forms of specs whose default claims all pairs
FORMS = ("aft form=simple",)
#: dense attention, which forms all pairs: what the specs are up against
RIVAL = "softmax"
QUADRATIC = 2.0

Found = dict[str, Any]


def is_subquadratic(name: str) -> bool:
    """Whether the time that a spec claims has, over the measured lengths, an exponent well below 2."""
    spec = api.check(name=name).spec
    if spec is None:
        return False
    claimed = exponent(spec, "time", {FIT_FROM: 1.0, LONGEST: 1.0}).claimed
    return claimed is not None and claimed < QUADRATIC - TOLERANCE


def measured(name: str, options: argparse.Namespace) -> Found:
    """What the command says of a spec, dims after its name; or the last line of what went wrong."""
    spec, *dims = name.split()
    command = [sys.executable, "-m", "attnc", "bench", "--scaling", spec, "--json"]
    command += ["--from", str(options.first), "--to", str(options.last), "--threads", "1"]
    command += ["--repeats", str(options.repeats), "--seconds", str(options.seconds)]
    for dim in (*dims, *DIMS.get(spec, ())):
        command += ["--dim", dim]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"failed": (done.stderr.splitlines() or ["nothing was said"])[-1]}
    found: Found = json.loads(done.stdout)["specs"][spec]
    return found


def sweep(names: list[str], found: dict[str, Found], options: argparse.Namespace) -> None:
    """Measure the specs, and write after each all that is known."""
    for place, name in enumerate(names, 1):
        print(f"{place}/{len(names)} {name}", end=" ", file=sys.stderr, flush=True)
        found[name] = measured(name, options)
        print(in_short(found[name]), file=sys.stderr)
        options.json.write_text(json.dumps(found, indent=1, sort_keys=True), "utf-8")


def in_short(item: Found) -> str:
    """The exponents of time in a line."""
    if "failed" in item:
        return f"failed: {item['failed']}"
    time = item["time"]
    return f"{number(time['measured'])} of {number(time['claimed'])} {time['verdict']}"


def number(value: float | None) -> str:
    """`1.02`, or nothing to tell."""
    return "-" if value is None else f"{value:.2f}"


def crossing(item: Found, other: Found | None) -> str:
    """The first length from which on, as far as both go, it is faster than the dense form of another.

    Both forward alone, and forward with backward.
    """
    if other is None or other.get("dense") is None:
        return "-"
    dense = {row["length"]: row for row in other["dense"]["lengths"]}
    first = None
    for row in item["own"]["lengths"]:
        there = dense.get(row["length"])
        if there is None:
            continue
        pairs = [(row.get(key), there.get(key)) for key in ("forward_seconds", "step_seconds")]
        if all(None not in pair for pair in pairs):
            is_faster = all(ours < theirs for ours, theirs in pairs)
            first = (first or row["length"]) if is_faster else None
    return str(first or "-")


def table(found: dict[str, Found]) -> str:
    """The figures as a table of Markdown."""
    lines = [
        "| spec | time claimed | measured | memory claimed | measured | its dense form | attention |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, item in sorted(found.items()):
        if name == RIVAL:
            continue
        if "failed" in item:
            lines.append(f"| {name} | failed | | | | | |")
            continue
        exponents = [
            number(item[part][which])
            for part in ("time", "memory")
            for which in ("claimed", "measured")
        ]
        crossings = [crossing(item, other) for other in (item, found.get(RIVAL))]
        lines.append(f"| {' | '.join([name, *exponents, *crossings])} |")
    return "\n".join(lines)


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("specs", nargs="*", help="specs to measure anew; all that are not yet")
    parser.add_argument("--json", type=Path, default=Path("scaling.json"), help="the figures")
    parser.add_argument("--from", dest="first", type=int, default=512, help="first N")
    parser.add_argument("--to", dest="last", type=int, default=LONGEST, help="last N")
    parser.add_argument("--repeats", type=int, default=3, help="timings")
    parser.add_argument("--seconds", type=float, default=20.0, help="for a form of a spec")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    return parser.parse_args()


def main() -> None:
    options = options_of()
    found: dict[str, Found] = {}
    if options.json.exists():
        found = json.loads(options.json.read_text("utf-8"))
    if not options.table:
        known = {name for name, item in found.items() if "failed" not in item}
        wanted = [RIVAL, *filter(is_subquadratic, attnc.library()), *FORMS]
        names = options.specs or [name for name in wanted if name not in known]
        sweep(names, found, options)
    print(table(found))


if __name__ == "__main__":
    main()
