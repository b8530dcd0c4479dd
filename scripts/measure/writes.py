"""Writing: small files, a large one, and what a listing costs meanwhile."""

import os
import statistics
import subprocess
import sys
import time

from bed import HEADERS, MB

LARGE = 500 * MB


def small(bed, table):
    """Files of 1 KB."""
    count = 2_000
    for turn in table.rounds():
        emulator = bed.emulator(f"small-writes-{turn}")
        mount = bed.mount(emulator, f"created-{turn}")
        native = bed.native / f"created-{turn}"
        native.mkdir()
        emulator.forget()
        without = count / bed.io("create", native, count)
        figure = "create + write of 1 KB, before the close"
        table.rate(figure, count / bed.io("create", mount.path, count), 8_000, f"ext4 {without:,.0f}/s")
        table.beside(figure, emulator, mount)
        mount.end()
        mount = bed.mount(emulator, f"closed-{turn}", "--write-back")
        emulator.forget()
        native = bed.native / f"closed-{turn}"
        native.mkdir()
        without = count / bed.io("synced", native, count)
        figure = "create + write + close of 1 KB, --write-back"
        took = bed.io("close", mount.path, count)
        table.rate(figure, count / took, 1_500, f"ext4 with fsync {without:,.0f}/s")
        table.beside(figure, emulator, mount)
        mount.end()


def large(bed, table):
    """500 MB in, until it is durable here and until it is at the service."""
    emulator = bed.emulator("large-writes")
    source = bed.work / "source"
    with open(source, "wb") as file:
        block = os.urandom(1 << 20)
        for start in range(0, LARGE, len(block)):
            file.write(start.to_bytes(8, "big") + block[8 : min(len(block), LARGE - start)])
    os.sync()
    mount = bed.mount(emulator, "large-writes")
    for turn in table.rounds():
        without, _ = copied(source, bed.native / "copied")
        os.unlink(bed.native / "copied")
        os.sync()
        emulator.forget()
        durable, closed = copied(source, mount.path / f"copied-{turn}.bin")
        table.ratio("500 MB in, until durable here", without / durable, 0.4, f"ext4 with fsync {without:.2f} s")
        table.beside("500 MB in, until durable here", emulator, mount)
        without = bed.time(*upload(emulator, source))
        table.ratio("its upload, as the close waits for it", without / closed, 0.8, f"curl -F {without:.2f} s")
        os.sync()
    for turn in table.rounds():
        idle = statistics.median(bed.time("ls", mount.path) for _ in range(100))
        # A process of its own: a thread of this one would be in the way of what measures.
        writer = subprocess.Popen(["cp", source, mount.path / f"beside-{turn}.bin"])
        listings = []
        while writer.poll() is None:
            listings.append(bed.time("ls", mount.path))
        if writer.returncode != 0:
            sys.exit("bench: cp failed")
        busy = statistics.median(listings)
        table.times("ls while 500 MB are written and uploaded", busy / idle, 2, f"idle {idle * 1000:.1f} ms")


def copied(source, target):
    """A copy as cp makes it: seconds until it is durable, and seconds in close."""
    begun = time.perf_counter()
    into = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(source, "rb", 0) as out:
        while piece := out.read(1 << 20):
            assert os.write(into, piece) == len(piece)
    os.fsync(into)
    durable = time.perf_counter()
    os.close(into)
    return durable - begun, time.perf_counter() - durable


def upload(emulator, source):
    headers = [word for name, value in HEADERS.items() for word in ("--header", f"{name}: {value}")]
    form = f"file=@{source};type=application/octet-stream"
    return [
        "curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--header", "Expect:", *headers,
        "--form", form, f"{emulator.url}/v1/files",
    ]
