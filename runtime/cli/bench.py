"""`attnc bench`: the forms of a spec side by side, or how time and memory grow with the length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ._growing import growing
from ._measured import Asked, sized
from ._specs import dims_option, length_option

EPILOG = """\b
Examples:
  attnc bench causal_softmax --length 2048
  attnc bench linear_transformer --dim heads=4 --no-compile --json
  attnc bench alibi --plot alibi.png --from 512 --to 4096
  attnc bench --scaling softmax delta_rule --to 8192
  attnc bench --scaling longformer --dim window=64 --plot growth.png
  attnc bench --scaling swin --dim size=8 --dim width=64 --dim height=N/64
"""


@click.command(epilog=EPILOG)
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@click.option("--scaling", is_flag=True, help="Time and memory over N, against what is claimed.")
@length_option(1024, 2**20)
@click.option(
    "--from", "first", type=click.IntRange(1), default=512, show_default=True, help="First N."
)
@click.option(
    "--to", "last", type=click.IntRange(1), default=16384, show_default=True, help="Last N."
)
@click.option("--heads", type=click.IntRange(1), help="Heads.  [default: 1, where a spec can]")
@dims_option
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Time for a form of a spec, beside compiling; longer inputs that do not fit are left out.",
)
@click.option(
    "--gib",
    type=click.FloatRange(0, min_open=True),
    default=2.0,
    show_default=True,
    help="Memory for a run; longer inputs that need more are left out.",
)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Timings.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Of torch.")
@click.option("--device", default="cpu", show_default=True, help="Such as cuda.")
@click.option(
    "--no-compile", is_flag=True, help="Leave out torch.compile and flex, which take long to begin."
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Time and memory over N as a .png, .svg or .pdf file.",
)
@click.option("--json", "is_json", is_flag=True, help="As JSON, on standard output.")
def command(
    specs: tuple[str, ...], scaling: bool, threads: int, no_compile: bool, **options: Any
) -> None:
    """Time and peak memory of SPEC: forward, and forward with backward, of each lowering that it
    can take, and of what torch.compile makes of the dense form.

    At one length; over N = 512, 1024, .. 16384 with --from, --to or --plot.

    With --scaling: over N, of what auto takes, with exponents of time and memory (fitted over
    N >= 2048), those of the spec's `cost`, and the N from which on it is faster than its dense
    form, forward and with backward. One example, d_model=64 unless --dim says more; medians of timings made in turns.

    A dim that is a part of the length is given as N/64, or N: the height of an image of width 64.
    """
    _check_plot(options["plot"])
    lengths = _lengths(scaling, options)
    given = growing(dict(options["dims"]), lengths)
    found = [sized(name, options["heads"], given, lengths[0]) for name in specs]
    _check_device(options["device"])
    from ..measurement.measuring import Limits
    from ..measurement.workload import threads as on_threads

    limits = Limits(options["seconds"], int(options["gib"] * 2**30), options["repeats"])
    asked = Asked(lengths, limits, options["device"], options["plot"], options["is_json"])
    with on_threads(threads):
        if scaling:
            from ._scaling import report_scaling

            report_scaling(found, asked)
        else:
            from ._comparison import report_forms

            report_forms(found, asked, not no_compile)


def _check_plot(plot: Path | None) -> None:
    if plot is not None and plot.suffix not in (".png", ".svg", ".pdf"):
        raise click.BadParameter("end it with .png, .svg or .pdf", param_hint="--plot")


def _lengths(scaling: bool, options: dict[str, Any]) -> list[int]:
    """One length, or those from the first to the last where anything asks for them."""
    first, last, length = options["first"], options["last"], options["length"]
    is_many = scaling or options["plot"] is not None or _is_told("first") or _is_told("last")
    if is_many and _is_told("length"):
        raise click.UsageError("--length is for one N: leave it out, or say --from and --to")
    if not is_many:
        return [length]
    if first > last:
        raise click.UsageError(f"--from {first} is beyond --to {last}")
    return [first << step for step in range((last // first).bit_length())]


def _is_told(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


def _check_device(name: str) -> None:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise click.BadParameter(f"no device `{name}`: {reason}", param_hint="--device") from error
