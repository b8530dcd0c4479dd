"""The world of one program: an emulator, a mount of the real program over it, and a directory outside.

A program that is run in it is told what it costs (`costs`), what it is refused (`refuses`) and what is there after it
(`holds`); what differs raises `Wrong`. Whatever a world started it ends, also after that.
"""

import contextlib
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

# Seconds until something that should happen counts as not happening.
PATIENCE = 60

CALLS = ("upload", "delete", "content", "metadata")

# Neither a proxy nor the user's own settings are to stand between this and the emulator.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Wrong(Exception):
    """What a program shows is not what it should be."""


class World:
    def __init__(self, binary, log):
        self.binary = binary
        self.log = log
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="afs-programs-")).resolve()
        self.point = self.work / "claude-files"
        self.out = self.work / "out"
        self.cost = dict.fromkeys(CALLS, 0)
        # The files that `holds` was told of last, and the names that stay here.
        self.held = {}, set()
        self._running = []
        self._mount = None
        for name in ("home", "out", "run", "tmp"):
            (self.work / name).mkdir(mode=0o700)
        # Nothing of whoever runs this reaches the programs, and they leave nothing behind.
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.work / "home"),
            "TMPDIR": str(self.work / "tmp"),
            "XDG_RUNTIME_DIR": str(self.work / "run"),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "TERM": "xterm",
            "SHELL": "/bin/bash",
            "ANTHROPIC_API_KEY": "any",
            "GIO_USE_VFS": "local",
            "GIO_USE_VOLUME_MONITOR": "unix",
            "OUT": str(self.out),
            "MOUNT": str(self.point),
        }

    # What it is made of.

    def begin(self):
        self.base = self._announced("emulator", [self.binary, "emulator"], "listening on ")
        self.mount()

    def mount(self):
        arguments = ["--foreground", "-v", "--base-url", self.base, "--state-dir", self.work / "state"]
        arguments += ["--cache-dir", self.work / "cache", self.point]
        self._announced("mount", [self.binary, "mount", *arguments], "mounted on ")
        self._mount = self._running[-1]

    def unmount(self):
        done = self._afs("unmount", self.point)
        if done.returncode != 0:
            raise Wrong(f"afs unmount fails: {done.stderr.strip()}")
        self._mount.wait(timeout=PATIENCE)

    def remount(self):
        self.unmount()
        self.mount()

    def _announced(self, what, command, announcement):
        """Starts a process of the world and waits for the line with which it says that it is ready."""
        said = self.work / f"{what}.out"
        with open(said, "wb") as out, open(self.work / f"{what}.log", "ab") as errors:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                env=self.environment,
                start_new_session=True,
            )
        self._running.append(process)

        def ready():
            if process.poll() is not None:
                raise Wrong(f"{what} ended at once with {process.returncode}")
            return said.read_text().startswith(announcement) and said.read_text().endswith("\n")

        self.eventually(f"{what} is ready", ready)
        return said.read_text().removeprefix(announcement).strip()

    def end(self):
        """Ends what was started, the last first. A mount that does not end by itself is killed and taken away."""
        for process in reversed(self._running):
            end_group(process)
        with open("/proc/self/mounts") as mounts:
            left = any(line.split()[1] == str(self.point) for line in mounts)
        if left:
            subprocess.run(["fusermount3", "-uz", self.point], check=False, stdin=subprocess.DEVNULL)
        for what in ("mount", "emulator"):
            path = self.work / f"{what}.log"
            if path.exists():
                self.note(f"---- log of the {what}", path.read_text(errors="replace"))
        shutil.rmtree(self.work, ignore_errors=True)

    def start(self, command, **options):
        """Starts a program in the mount that is ended with the world at the latest."""
        self.note(f"$ {shown(command)} &")
        usual = {"stdin": subprocess.DEVNULL, "stdout": self.log, "stderr": self.log}
        options = {"cwd": self.point, "env": self.environment} | usual | options
        process = subprocess.Popen(command, start_new_session=True, **options)
        self._running.append(process)
        return process

    def stop(self, process):
        """Ends a program that was started."""
        end_group(process)
        self._running.remove(process)

    def eventually(self, what, condition, patience=PATIENCE):
        deadline = time.monotonic() + patience
        while not (result := condition()):
            if time.monotonic() > deadline:
                raise Wrong(f"in vain for {patience} s: {what}")
            time.sleep(0.02)
        return result

    def note(self, *lines):
        for line in lines:
            self.log.write(line.rstrip("\n") + "\n")
        self.log.flush()

    # The service, as its side door shows it.

    def _door(self, method, path, body=None):
        request = urllib.request.Request(f"{self.base}/_emulator/{path}", data=body, method=method)
        with _opener.open(request, timeout=PATIENCE) as answer:
            return answer.read()

    def _plant(self, name, content, downloadable):
        about = urllib.parse.urlencode({"filename": name, "downloadable": downloadable})
        self._door("POST", f"files?{about}", content)

    def outputs(self, **files):
        """Files that a tool has made."""
        for name, content in files.items():
            self._plant(name, content, "true")
        self._list(files)

    def foreign(self, **files):
        """Uploads of somebody else."""
        for name, content in files.items():
            self._plant(name, content, "false")
        self._list(files)

    def _list(self, names):
        """Until the mount shows them."""
        self.remount()
        self.eventually("what was planted is listed", lambda: set(names) <= set(os.listdir(self.point)))

    def stored(self):
        """The service's files as (name, bytes), sorted."""
        while True:
            files = json.loads(self._door("GET", "files"))
            try:
                return sorted((file["filename"], self._door("GET", f"content/{file['id']}")) for file in files)
            except urllib.error.HTTPError as error:
                # Deleted in between.
                if error.code != 404:
                    raise

    def requests(self):
        return json.loads(self._door("GET", "requests"))

    # What the program does.

    def outside(self, name, content):
        """A file outside the mount, in $OUT."""
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def run(self, command, patience=PATIENCE, **options):
        """Runs a shell line, or a list of words, in the mount."""
        self.note(f"$ {shown(command)}")
        words = ["bash", "-c", command] if isinstance(command, str) else [str(word) for word in command]
        options = {"cwd": self.point, "env": self.environment} | options
        # Files, not pipes: what a program leaves running in the background must not be waited for.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, start_new_session=True, **options
            )
            try:
                code = process.wait(timeout=patience)
            except subprocess.TimeoutExpired:
                end_group(process)
                raise Wrong(f"still runs after {patience} s: {shown(command)}") from None
            texts = []
            for stream in (out, errors):
                stream.seek(0)
                texts.append(stream.read().decode(errors="replace"))
        done = subprocess.CompletedProcess(words, code, *texts)
        self.note(*(text for text in texts if text), f"  ended with {code}")
        return done

    def sh(self, command, quiet=True, **options):
        """Runs what must succeed, and (`quiet`) say nothing on standard error; its output."""
        done = self.run(command, **options)
        if done.returncode != 0:
            raise Wrong(f"{shown(command)}: ends with {done.returncode}: {done.stderr.strip()}")
        if quiet and done.stderr.strip():
            raise Wrong(f"{shown(command)}: says {done.stderr.strip()}")
        return done.stdout

    def _afs(self, *words):
        return self.run([self.binary, *words], cwd=self.work)

    def flush(self):
        done = self._afs("flush", self.point)
        if done.returncode != 0:
            raise Wrong(f"afs flush fails: {done.stderr.strip()}")

    # What must be.

    @contextlib.contextmanager
    def costing(self, **expected):
        """What is done inside costs exactly so many requests, sent at once or with the flush at the end. Lists are of
        the background."""
        self.flush()
        self._door("DELETE", "requests")
        yield
        self.flush()
        log = [line for line in self.requests() if line["call"] != "list"]
        for line in log:
            self.note(f"  request: {line['call']} {line['filename']} {line['status']}")
        counts = {call: sum(line["call"] == call for line in log) for call in CALLS}
        for call in CALLS:
            self.cost[call] += counts[call]
        if counts != dict.fromkeys(CALLS, 0) | expected:
            raise Wrong(f"costs {told(counts)} instead of {told(expected)}")

    def costs(self, command, quiet=True, **expected):
        """Runs what must succeed and costs exactly so many requests; its output."""
        with self.costing(**expected):
            return self.sh(command, quiet=quiet)

    def refuses(self, command, says, **expected):
        """Runs what must fail in these words (a pattern), within the same costs."""
        with self.costing(**expected):
            done = self.run(command)
        if done.returncode == 0:
            raise Wrong(f"{shown(command)}: is not refused")
        if not re.search(says, done.stderr + done.stdout):
            raise Wrong(f"{shown(command)}: says {(done.stderr + done.stdout).strip()!r}, not {says!r}")

    def holds(self, files, scratch=()):
        """The mount shows exactly these files and those that stay here (`scratch`), the service has exactly the
        former, and both have their bytes."""
        self.flush()
        self.held = files, set(scratch)
        self._mount_holds()
        self._service_holds()

    def _mount_holds(self):
        files, scratch = self.held
        names = sorted(os.listdir(self.point))
        if names != sorted(scratch | set(files)):
            raise Wrong(f"the mount shows {names}, not {sorted(scratch | set(files))}")
        for name, content in files.items():
            same(f"{name} in the mount", (self.point / name).read_bytes(), content)

    def _service_holds(self):
        files, _ = self.held
        stored = self.stored()
        if [name for name, _ in stored] != sorted(files):
            raise Wrong(f"the service has {[name for name, _ in stored]}, not {sorted(files)}")
        for name, content in stored:
            same(f"{name} at the service", content, files[name])

    def left_clean(self):
        """At the end nothing is pending but what stays here, and an unmount and another mount change nothing."""
        done = self._afs("pending", self.point, "--json")
        if done.returncode != 0:
            raise Wrong(f"afs pending fails: {done.stderr.strip()}")
        _, scratch = self.held
        left = [change for change in json.loads(done.stdout) if change["name"] not in scratch]
        if left:
            raise Wrong(f"still pending: {left}")
        self._door("DELETE", "requests")
        self.remount()
        self._mount_holds()
        self.unmount()
        self._service_holds()
        asked = [line["call"] for line in self.requests() if line["call"] != "list"]
        if asked:
            raise Wrong(f"unmounting and mounting again costs {asked}")

    def is_of_then(self, name, time):
        """A file has this time."""
        mtime = (self.point / name).stat().st_mtime
        if mtime != time:
            raise Wrong(f"{name} has the time {mtime}, not {time}")


def same(what, content, expected):
    if content != expected:
        at = next((n for n, (a, b) in enumerate(zip(content, expected)) if a != b), min(len(content), len(expected)))
        raise Wrong(f"{what} has {len(content)} bytes, expected {len(expected)}, different from byte {at}")


def told(counts):
    """Requests in words."""
    words = [f"{count} {call}{'s' * (count != 1)}" for call, count in counts.items() if count]
    return ", ".join(words) or "no request"


def shown(command):
    return command if isinstance(command, str) else shlex.join(str(word) for word in command)


def end_group(process):
    """Ends a process that leads a group, and the group."""
    for number, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + patience
        while process.poll() is None or group_lives(process.pid):
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        else:
            return


def group_lives(group):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, 0)
        return True
    return False
