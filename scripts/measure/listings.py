"""Names and attributes: warm, cold, and of a mount that has just begun."""

import json
import os
import time

from bed import HEADERS, drop_names, request


def native_names(bed, count):
    """So many names of the same length on the disk."""
    native = bed.native / f"names-{count}"
    if not native.exists():
        native.mkdir()
        for number in range(count):
            (native / f"file-{number:08}").touch()
    return native


def directory(bed, table, count):
    """A directory of so many files, against the same names on the disk."""
    emulator = bed.emulator(f"names-{count}")
    emulator.outputs(count, "file-", 1024)
    mount = bed.mount(emulator, f"names-{count}")
    native = native_names(bed, count)
    many = f"{count // 1000}k"
    goals = {10_000: (0.87, 1.0, 1.0, 1.5), 100_000: (None, 0.8, 0.8, 1.5)}[count]
    listing, finding = ["ls", "-l"], ["find", "-size", "+1M"]

    def figures(path):
        yield f"stat of {many} names, warm", lambda: bed.io("stat", path, "file-")
        yield f"ls -l of {many}, warm", lambda: bed.time(*listing, path)
        yield f"find -size in {many}, warm", lambda: bed.time("find", path, *finding[1:])

    for path in [native, mount.path]:
        bed.time(*listing, path)
    for _ in table.rounds():
        for (figure, without), (_, within), goal in zip(figures(native), figures(mount.path), goals):
            emulator.forget()
            without, took = without(), within()
            table.ratio(figure, without / took, goal, f"ext4 {without * 1000:.0f} ms")
            table.beside(figure, emulator, mount)
        drop_names()
        without = bed.time(*listing, native)
        drop_names()
        emulator.forget()
        took = bed.time(*listing, mount.path)
        figure = f"ls -l of {many}, names dropped"
        table.ratio(figure, without / took, goals[3], f"ext4 {without * 1000:.0f} ms")
        table.beside(figure, emulator, mount)


def begun(bed, table):
    """A mount of a workspace of 10,000 files where each request takes 50 ms: known from before, and not known."""
    count = 10_000
    emulator = bed.emulator("begun")
    emulator.outputs(count, "file-", 1024)
    bed.mount(emulator, "begun").end()
    native = native_names(bed, count)
    emulator.delay(50)
    ready, listed, first = "mount of 10k known files ready", "its ls -l, no request before", "10k unknown files listed"
    for turn in table.rounds():
        emulator.forget()
        mount = bed.mount(emulator, "begun")
        table.most(ready, mount.ready_after * 1000, 20, "ms")
        drop_names()
        without = bed.time("ls", "-l", native)
        took = bed.time("ls", "-l", mount.path)
        table.times(listed, took / without, 2, f"ext4 {without * 1000:.0f} ms")
        table.beside(listed, emulator, mount)
        mount.end()

        start = time.perf_counter()
        pages(emulator)
        without = time.perf_counter() - start
        emulator.forget()
        start = time.perf_counter()
        mount = bed.mount(emulator, f"unknown-{turn}")
        bed.time("ls", "-l", mount.path)
        took = time.perf_counter() - start
        table.times(first, took / without, 1.3, f"10 list requests {without * 1000:.0f} ms")
        table.beside(first, emulator, mount)
        mount.end()
    emulator.behave()


def million(bed, table):
    """A workspace of a million files: memory, the time until it is there, and what new files cost."""
    count, new = 1_000_000, 100_000
    emulator = bed.emulator("million")
    emulator.outputs(count, "file-", 1024)
    mount = bed.mount(emulator, "million")
    bed.time("ls", "-f", mount.path)
    table.most("1,000,000 files, unknown: memory after ls -f", mount.resident(), 130, "MB")
    table.beside("1,000,000 files, unknown: memory after ls -f", emulator, mount)
    mount.end()
    for turn in table.rounds():
        emulator.forget()
        mount = bed.mount(emulator, "million")
        figure = "1,000,000 known files: mount ready"
        table.most(figure, mount.ready_after * 1000, 1000, "ms")
        table.beside(figure, emulator, mount)
        took = bed.time("ls", "-f", mount.path)
        figure = "its memory after ls -f"
        table.most(figure, mount.resident(), 130, "MB", f"ls -f {took:.2f} s")
        table.beside(figure, emulator, mount)
        mount.end()

        emulator.outputs(new, f"new-{turn}-", 1024)
        count += new
        emulator.forget()
        mount = bed.mount(emulator, "million")
        # Opening the directory asks for a listing; reading it would be measured too.
        os.close(os.open(mount.path, os.O_RDONLY | os.O_DIRECTORY))
        while emulator.calls().get("list", 0) < new / 1000 or mount.files() < count:
            time.sleep(0.05)
        figure = "100,000 new files merged: own processor time"
        table.most(figure, mount.processor_time() * 1000, 3000, "ms")
        table.beside(figure, emulator, mount)
        mount.end()


def pages(emulator):
    """All list requests, one after another, as plainly as can be."""
    after = ""
    while True:
        page = json.loads(request(f"{emulator.url}/v1/files?limit=1000{after}", headers=HEADERS))
        if not page["has_more"]:
            return
        after = f"&after_id={page['last_id']}"
