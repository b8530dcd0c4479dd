"""One writer of the kill campaign: carries out a plan in a directory, and notes each operation before and after.

A process of its own: it may get stuck in a system call, and it dies or ends without the tests. It stops at the first
operation that fails, for what comes after would be built on sand.
"""

import os
import sys
import time

directory, plan, log = sys.argv[1:]
out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def note(*words):
    os.write(out, (" ".join(map(str, words)) + "\n").encode())


def content(tag, size):
    """As in plan.rs: every line says which version it is of, and which line it is."""
    lines = (b"%016x%016x...............................\n" % (tag, line) for line in range(-(-size // 64)))
    return b"".join(lines)[:size]


def put(name, tag, size, chunk, sync):
    data = memoryview(content(int(tag), int(size)))
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for start in range(0, len(data), int(chunk)):
            assert os.write(file, data[start : start + int(chunk)]) > 0
        if sync == "sync":
            os.fsync(file)
    finally:
        # Its error is the operation's error.
        os.close(file)


os.chdir(directory)
for line in open(plan):
    number, operation, *words = line.split()
    note("begin", number, time.time_ns())
    try:
        {"put": put, "rename": os.rename, "remove": os.unlink}[operation](*words)
    except OSError as error:
        note("failed", number, time.time_ns(), error.errno)
        break
    note("done", number, time.time_ns())
