"""The same copy on this machine read through rclone's mount with its full cache: of its own WebDAV server, for it speaks
no Files API."""

import os
import shutil
import socket
import subprocess
import time

from bed import MB

LARGE = 500 * MB


class Rclone:
    """A served directory and its mount."""

    def __init__(self, bed, source):
        self.path = bed.work / "rclone-mnt"
        self.path.mkdir()
        cache = bed.work / "rclone-cache"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = dict(os.environ, HOME=str(bed.work), RCLONE_CONFIG=str(bed.work / "rclone.conf"))
        address = f"127.0.0.1:{free_port()}"
        self.server = subprocess.Popen(["rclone", "serve", "webdav", "--addr", address, source], env=environment, **quiet)
        words = ["--vfs-cache-mode", "full", "--cache-dir", cache, "--webdav-url", f"http://{address}", ":webdav:"]
        self.mount = subprocess.Popen(["rclone", "mount", *words, self.path], env=environment, **quiet)
        deadline = time.monotonic() + 60
        while not os.path.ismount(self.path):
            if time.monotonic() > deadline:
                raise RuntimeError("rclone does not mount")
            time.sleep(0.05)

    def end(self):
        subprocess.run(["fusermount3", "-u", "-z", self.path], capture_output=True, check=False)
        for process in [self.mount, self.server]:
            process.terminate()
            process.wait()


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def compared(bed, table):
    """Rereading 500 MB, and 4 KB anywhere in it, once each has it on this machine."""
    emulator = bed.emulator("against")
    emulator.outputs(1, "large-", LARGE)
    name, mount = emulator.files()[0]["filename"], bed.mount(emulator, "against")
    bed.io("seq", mount.path / name, 1 << 20)
    source = bed.work / "served"
    source.mkdir()
    shutil.copyfile(mount.path / name, source / "large")
    mount.end()
    mount = bed.mount(emulator, "against")
    theirs = bed.kept(Rclone(bed, source)).path / "large"
    ours = mount.path / name
    for path in [ours, theirs]:
        bed.io("seq", path, 1 << 20)
    for _ in table.rounds():
        for figure, what, rest, goal in [
            ("reread of 500 MB", "seq", 1 << 20, 5),
            ("100,000 random reads of 4 KB", "random", 100_000, 10),
        ]:
            without, took = bed.io(what, theirs, rest), bed.io(what, ours, rest)
            table.ratio(f"{figure}, against rclone", without / took, goal, f"rclone {without:.3f} s")
