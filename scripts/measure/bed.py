"""What is measured on: an emulator of the service, mounts of it, and a directory of the same disk beside them. All of it
ends with the bed."""

import json
import os
import pathlib
import re
import select
import shutil
import subprocess
import time
import urllib.request

MB = 1000 * 1000
KEY = "bench"
HEADERS = {"x-api-key": KEY, "anthropic-version": "2023-06-01", "anthropic-beta": "files-api-2025-04-14"}
# Nothing between us and this machine's own servers.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def request(url, method="GET", data=None, headers=None):
    asked = urllib.request.Request(url, method=method, data=data, headers=headers or {})
    with OPENER.open(asked) as answer:
        return answer.read()


def drop_names():
    """Has the kernel forget names and attributes, of all file systems; root may."""
    subprocess.run(["sync"], check=True)
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("2\n")


class Emulator:
    """The service, on this machine."""

    def __init__(self, afs, directory):
        directory.mkdir()
        environment = dict(os.environ, TMPDIR=str(directory))
        self.process = subprocess.Popen(
            [afs, "emulator"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.url = said(self.process, r"listening on (\S+)")

    def door(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        return request(f"{self.url}/_emulator/{path}", method, data)

    def outputs(self, count, prefix, size):
        self.door("POST", "bulk", {"count": count, "prefix": prefix, "size": size})

    def id_of(self, name):
        for file in self.files():
            if file["filename"] == name:
                return file["id"]
        raise LookupError(name)

    def files(self):
        return json.loads(self.door("GET", "files"))

    def delay(self, milliseconds):
        """Every answer comes so much later; 0: at once."""
        rules = [{"do": {"delay_ms": milliseconds}}] if milliseconds else []
        self.door("PUT", "faults", rules)

    def stall(self, names):
        """Fetches of these hang from now on."""
        rules = [{"call": "content", "id": self.id_of(name), "do": {"stall": True}} for name in names]
        self.door("PUT", "faults", rules)

    def behave(self):
        self.door("DELETE", "faults")

    def forget(self):
        self.door("DELETE", "requests")

    def calls(self):
        """How many calls of each kind there were since they were forgotten."""
        calls = [call["call"] for call in json.loads(self.door("GET", "requests"))]
        return {call: calls.count(call) for call in sorted(set(calls))}

    def content(self, name):
        return f"{self.url}/v1/files/{self.id_of(name)}/content"

    def end(self):
        self.process.kill()
        self.process.wait()


class Mount:
    """A mount in a process of its own. State and cache stay when it ends, for the next one of the same name."""

    def __init__(self, afs, emulator, directory, *options):
        self.path = directory / "mnt"
        self.path.mkdir(parents=True, exist_ok=True)
        self.afs = afs
        self.cache = directory / "cache"
        words = ["--foreground", "--refresh", "1h", "--state-dir", directory / "state", "--cache-dir", self.cache]
        environment = dict(os.environ, HOME=str(directory), ANTHROPIC_API_KEY=KEY, ANTHROPIC_BASE_URL=emulator.url)
        for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"]:
            environment.pop(proxy, None)
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            [afs, "mount", *words, *options, self.path],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        said(self.process, r"(mounted on) ")
        self.ready_after = time.perf_counter() - begun

    def peak(self):
        """The most memory it has had, MB."""
        return self._memory("VmHWM")

    def resident(self):
        """The memory it has, MB."""
        return self._memory("VmRSS")

    def _memory(self, what):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+)", status).group(1)) / 1000

    def processor_time(self):
        """Seconds that its threads have run, in itself and in the kernel."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def files(self):
        """How many files it knows of."""
        return json.loads((self.path / ".afs" / "status.json").read_text())["files"]

    def end(self):
        if self.process.poll() is None:
            ended = subprocess.run(
                ["timeout", "60", self.afs, "unmount", "--force", self.path], capture_output=True, check=False
            )
            if ended.returncode:
                self.process.kill()
            self.process.wait()
        subprocess.run(["umount", "-l", self.path], capture_output=True, check=False)


def said(process, pattern, patience=120):
    """Waits for a line of a process's output that fits; what its first group is."""
    deadline = time.monotonic() + patience
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([process.stdout], [], [], left)[0]:
            break
        line = process.stdout.readline()
        if not line:
            break
        if found := re.search(pattern, line):
            return found.group(1)
    process.kill()
    raise RuntimeError(f"{process.args[:2]} did not start")


class Bed:
    """Everything that one run measures on, below one directory."""

    def __init__(self, work, afs, io, quick):
        self.work, self.afs, self.io_binary, self.quick = work, afs, io, quick
        self.things = []
        self.native = work / "native"
        self.native.mkdir()

    def emulator(self, name):
        return self.kept(Emulator(self.afs, self.work / f"emulator-{name}"))

    def mount(self, emulator, name, *options):
        return self.kept(Mount(self.afs, emulator, self.work / name, *options))

    def kept(self, thing):
        self.things.append(thing)
        return thing

    def end(self):
        for thing in reversed(self.things):
            thing.end()
        self.things.clear()

    def forget_state(self, name):
        shutil.rmtree(self.work / name, ignore_errors=True)

    def io(self, what, path, rest=0):
        """Seconds that a loop of io.c took."""
        done = subprocess.run([self.io_binary, what, path, str(rest)], check=True, capture_output=True, text=True)
        return float(done.stdout)

    def time(self, *words):
        """Seconds that a command took; what it prints goes nowhere."""
        begun = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begun

    def times(self, *commands):
        """Seconds that commands took which ran at once."""
        begun = time.perf_counter()
        running = [subprocess.Popen(words, stdout=subprocess.DEVNULL) for words in commands]
        for process in running:
            if process.wait():
                raise RuntimeError(f"{process.args} failed")
        return time.perf_counter() - begun


def curl(url, into):
    """The command that fetches a file as plainly as can be."""
    headers = [word for name, value in HEADERS.items() for word in ("--header", f"{name}: {value}")]
    return ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", *headers, "--output", str(into), url]
