"""`python -m fuzz --from 0 --seeds 1000`: random specs compared, failures made small."""

from __future__ import annotations

import argparse
import os
import sys

from .campaign import campaign, smallest
from .compare import LOWERINGS, summary


def main() -> int:
    asked = _asked()
    seeds = range(asked.first, asked.first + asked.seeds)
    found = []
    for verdict in campaign(seeds, asked.lowering, asked.jobs, asked.inductor):
        found.append(verdict)
        if len(found) % 100 == 0:
            print(f"{len(found)} of {asked.seeds}", file=sys.stderr, flush=True)
        if verdict.failed:
            print(f"seed {verdict.seed}: {verdict.failed[:400]}", flush=True)
    print("\n".join(summary(found)))
    failed = [verdict.seed for verdict in found if verdict.failed]
    for seed in failed[: asked.minimise]:
        item, verdict = smallest(seed, asked.lowering, seed < asked.first + asked.inductor)
        print(f"\nseed {seed}, made small: {verdict.failed}\n{item}\n{item.text}", flush=True)
    return 1 if failed else 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--minimise", type=int, default=3, help="failures that are made small")
    parser.add_argument(
        "--lowering",
        nargs="+",
        default=LOWERINGS,
        help="compared with the dense form [default: cpu tiled]",
    )
    parser.add_argument(
        "--inductor", type=int, default=0, help="seeds that are compiled by torch, too"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
