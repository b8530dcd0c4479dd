"""Reading: copies on this machine, and outputs that only the service has."""

import os
import shutil
import subprocess
import time

from bed import MB, curl, request, HEADERS

LARGE = 500 * MB
MIDDLE = 50 * MB


def local(bed, table):
    """What is on this machine already, by the kernel alone and by the mount, against the same copy read on the disk.

    The very same one: of two files of the same bytes one is read by a quarter faster than the other for as long as both
    are in memory, by where their pages happen to be.
    """
    emulator = bed.emulator("local")
    emulator.outputs(1, "large-", LARGE)
    name = emulator.files()[0]["filename"]
    ways = {"passthrough": [], "no passthrough": ["--no-passthrough"]}
    for way, options in ways.items():
        mount = bed.mount(emulator, way, *options)
        bed.io("seq", mount.path / name, 1 << 20)
        mount.end()
    goals = {"passthrough": (0.9, 0.95, 0.95, 0.88), "no passthrough": (0.25, 0.65, 0.25, 0.88)}
    pages = 100_000
    for _ in table.rounds():
        for way, options in ways.items():
            native = next((bed.work / way / "cache").rglob(emulator.files()[0]["id"]))
            own = [bed.io("seq", native, 1 << 20) for _ in range(2)]
            own += [bed.io("mmap", native), bed.io("random", native, pages)]
            # No page of it is the mount's yet.
            mount = bed.mount(emulator, way, *options)
            path = mount.path / name
            emulator.forget()
            got = [bed.io("seq", path, 1 << 20) for _ in range(2)]
            got += [bed.io("mmap", path), bed.io("random", path, pages)]
            what = ["first pass of 500 MB from the cache", "reread of 500 MB", "mmap of 500 MB", "100,000 random reads of 4 KB"]
            for figure, seconds, without, goal in zip(what, got, own, goals[way]):
                table.ratio(f"{figure}, {way}", without / seconds, goal, f"ext4 {without:.3f} s")
            table.beside(f"{what[0]}, {way}", emulator, mount)
            mount.end()


def small(bed, table):
    """Ten thousand files of 1 KB that are here."""
    count = 2_000 if bed.quick else 10_000
    emulator = bed.emulator("small")
    emulator.outputs(count, "small-", 1024)
    mount = bed.mount(emulator, "small")
    for _ in range(2):
        bed.io("files", mount.path, "small-")
    for _ in table.rounds():
        emulator.forget()
        figure = f"open + read + close of {count:,} files of 1 KB"
        table.rate(figure, count / bed.io("files", mount.path, "small-"), 20_000)
        table.beside(figure, emulator, mount)


def cold(bed, table):
    """From the service: one large output, four at once, and the first bytes of one."""
    emulator = bed.emulator("cold")
    emulator.outputs(1, "large-", LARGE)
    emulator.outputs(4, "middle-", MIDDLE)
    files = [file["filename"] for file in emulator.files()]
    large = next(name for name in files if name.startswith("large-"))
    middles = [name for name in files if name.startswith("middle-")]
    for _ in table.rounds():
        mount = bed.mount(emulator, "cold")
        into = bed.work / "fetched"
        without = bed.time(*curl(emulator.content(large), into))
        into.unlink()
        os.sync()
        emulator.forget()
        took = bed.time("cat", mount.path / large)
        table.ratio("cold cat of 500 MB", without / took, 0.8, f"curl -o {without:.2f} s")
        table.beside("cold cat of 500 MB", emulator, mount)
        os.sync()
        without = bed.times(*(curl(emulator.content(name), bed.work / name) for name in middles))
        emulator.forget()
        took = bed.times(*(["cat", mount.path / name] for name in middles))
        table.ratio("4 cold reads of 50 MB at once", without / took, 0.8, f"4 curl -o {without:.2f} s")
        table.beside("4 cold reads of 50 MB at once", emulator, mount)
        for name in middles:
            (bed.work / name).unlink()
        mount.end()
        shutil.rmtree(bed.work / "cold" / "cache")
    emulator.delay(50)
    metadata = f"{emulator.url}/v1/files/{emulator.id_of(large)}"
    for _ in table.rounds():
        mount = bed.mount(emulator, "cold")
        begun = time.perf_counter()
        request(metadata, headers=HEADERS)
        without = time.perf_counter() - begun
        emulator.forget()
        took = bed.time("head", "-c", "4096", mount.path / large)
        figure = "first 4 KB of 500 MB, 50 ms a request"
        table.times(figure, took / without, 1.2, f"a request {without * 1000:.0f} ms")
        table.beside(figure, emulator, mount)
        mount.end()
        shutil.rmtree(bed.work / "cold" / "cache")
    emulator.behave()


def hanging(bed, table):
    """What is here goes on as fast while fetches hang."""
    count = 1_000
    emulator = bed.emulator("hanging")
    emulator.outputs(count, "small-", 1024)
    emulator.outputs(4, "hung-", MIDDLE)
    mount = bed.mount(emulator, "hanging")
    hung = [file["filename"] for file in emulator.files() if file["filename"].startswith("hung-")]
    bed.io("files", mount.path, "small-")
    figure = "cached reads while 4 fetches hang"
    for _ in table.rounds():
        calm = min(bed.io("files", mount.path, "small-") for _ in range(3))
        emulator.stall(hung)
        emulator.forget()
        readers = [subprocess.Popen(["cat", mount.path / name], stdout=subprocess.DEVNULL) for name in hung]
        while emulator.calls().get("content", 0) < len(hung):
            time.sleep(0.01)
        held = min(bed.io("files", mount.path, "small-") for _ in range(3))
        emulator.behave()
        for reader in readers:
            reader.wait()
        table.ratio(figure, calm / held, 0.9, f"undisturbed {count / calm:,.0f}/s")
        mount.end()
        for name in hung:
            copy = next((bed.work / "hanging" / "cache").rglob(emulator.id_of(name)), None)
            if copy:
                copy.unlink()
        mount = bed.mount(emulator, "hanging")
        bed.io("files", mount.path, "small-")
