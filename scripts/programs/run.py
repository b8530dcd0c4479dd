"""Runs programs against real mounts: see scripts/programs-test, which starts this."""

import argparse
import pathlib
import shutil
import signal
import sys
import time
import traceback

# Each adds its programs to the registry, in this order.
import files  # noqa: F401
import refused  # noqa: F401
import copies  # noqa: F401
import editors  # noqa: F401
import tools  # noqa: F401
import desktop  # noqa: F401
import background  # noqa: F401
from registry import PROGRAMS
from world import World, told


def main():
    arguments = argparse.ArgumentParser(prog="programs-test", allow_abbrev=False)
    arguments.add_argument("--all", action="store_true")
    arguments.add_argument("--needs", action="store_true")
    arguments.add_argument("--binary", type=pathlib.Path)
    arguments.add_argument("--logs", type=pathlib.Path)
    arguments.add_argument("names", nargs="*", metavar="NAME")
    typed = arguments.parse_args()
    chosen = choose(typed.names, typed.all)
    if typed.needs:
        print("\n".join(sorted({need for program in chosen for need in program.needs})))
        return 0
    # As Ctrl-C does: what runs is ended.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    shutil.rmtree(typed.logs, ignore_errors=True)
    typed.logs.mkdir(parents=True)
    began = time.monotonic()
    failed = [program.name for program in chosen if not run(program, typed.binary, typed.logs)]
    took = time.monotonic() - began
    if failed:
        print(f"programs-test: {len(failed)} of {len(chosen)} FAILED: {', '.join(failed)}; see {typed.logs}/")
        return 1
    print(f"programs-test: {len(chosen)} ok in {took:.0f} s")
    return 0


def choose(names, every):
    known = {program.name: program for program in PROGRAMS}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"programs-test: not known: {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        sys.exit(2)
    if names:
        return [known[name] for name in names]
    return [program for program in PROGRAMS if every or not program.large]


def run(program, binary, logs):
    """Runs one in a world of its own and prints its line; whether all was as it should be."""
    began = time.monotonic()
    with open(logs / f"{program.name.replace('/', '-').replace(' ', '_')}.log", "w") as log:
        world = World(binary, log)
        why = None
        try:
            world.begin()
            program.run(world)
            world.left_clean()
        except Exception as wrong:  # Whatever it is, the others are still run.
            why = str(wrong) or repr(wrong)
            log.write(traceback.format_exc())
        finally:
            world.end()
    verdict = "FAILED" if why else "ok"
    print(f"{program.name:<20} {verdict:<7} {told(world.cost):<46} {program.says}  ({time.monotonic() - began:.1f} s)")
    if why:
        print(f"    {why}")
    sys.stdout.flush()
    return why is None


if __name__ == "__main__":
    sys.exit(main())
