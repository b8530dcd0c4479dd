"""Measures the mount: see scripts/bench, which starts this."""

import argparse
import os
import pathlib
import signal
import sys

import listings
import reads
import rclone
import writes
from bed import Bed
from table import Table

FIGURES = {
    "local": reads.local,
    "small": reads.small,
    "cold": reads.cold,
    "hanging": reads.hanging,
    "names": lambda bed, table: listings.directory(bed, table, 10_000),
    "many-names": lambda bed, table: listings.directory(bed, table, 100_000),
    "million": listings.million,
    "begun": listings.begun,
    "writes": writes.small,
    "large": writes.large,
}


def main():
    arguments = argparse.ArgumentParser(prog="bench", allow_abbrev=False)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--against", choices=["rclone"])
    arguments.add_argument("--binary", type=pathlib.Path)
    arguments.add_argument("--io", type=pathlib.Path)
    arguments.add_argument("--work", type=pathlib.Path)
    arguments.add_argument("--results", type=pathlib.Path)
    arguments.add_argument("names", nargs="*", metavar="NAME", choices=[[], *FIGURES])
    typed = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    bed = Bed(typed.work, typed.binary, typed.io, typed.quick)
    table = Table(1 if typed.quick else 5)
    try:
        for name in typed.names or FIGURES:
            print(f"bench: {name}", file=sys.stderr, flush=True)
            FIGURES[name](bed, table)
            bed.end()
        if typed.against:
            rclone.compared(bed, table)
    finally:
        bed.end()
        # What was measured until then is worth the time it took.
        print(table.text())
    typed.results.mkdir(parents=True, exist_ok=True)
    (typed.results / "table.md").write_text(table.markdown())
    (typed.results / "chart.svg").write_text(table.chart())
    load = os.getloadavg()[1]
    print(f"bench: load average {load:.1f} on {os.cpu_count()} cores; ratios stand noise better than the rest")


main()
