"""Copying, moving, writing, removing: the coreutils and the shell."""

import os
import stat

from registry import program
from world import Wrong, same

ONE = b"one\n"
TWO = b"two, and longer\n"
# More than goes through memory and a database row, and not text.
LARGE = bytes(range(256)) * 12_000
# What tells an image of 1 by 1.
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0"
# 2001-09-09 01:46:40
THEN = 1_000_000_000


@program("cp")
def cp(w):
    "new; over another file; the same bytes again; out of the mount; an output"
    w.outside("f", ONE)
    w.outside("large", LARGE)
    w.costs("cp $OUT/f f", upload=1)
    w.costs("cp $OUT/large $OUT/f .", upload=1)
    w.holds({"f": ONE, "large": LARGE})
    w.outside("f", TWO)
    w.costs("cp $OUT/f .", upload=1, delete=1)
    w.costs("cp $OUT/f .")
    w.costs("cp large copy", upload=1)
    w.holds({"f": TWO, "large": LARGE, "copy": LARGE})
    w.costs("cp large $OUT/back")
    same("the copy outside", (w.out / "back").read_bytes(), LARGE)
    w.outputs(chart=LARGE)
    w.costs("cp chart $OUT/chart", content=1)
    w.costs("cp chart $OUT/again")
    same("the output outside", (w.out / "again").read_bytes(), LARGE)
    w.holds({"f": TWO, "large": LARGE, "copy": LARGE, "chart": LARGE})


@program("cp -p")
def cp_p(w):
    "the time is kept, after a remount too; the mode is 0600 and no error"
    os.utime(w.outside("f", ONE), (THEN, THEN))
    (w.out / "f").chmod(0o755)
    w.costs("cp -p $OUT/f .", upload=1)
    w.holds({"f": ONE})
    w.is_of_then("f", THEN)
    w.remount()
    w.is_of_then("f", THEN)


@program("cp -a")
def cp_a(w):
    "files keep their times; a directory is refused in words, and what is flat in it can be copied"
    for name in ("a", "b"):
        os.utime(w.outside(f"d/{name}", name.encode()), (THEN, THEN))
    w.refuses("cp -a $OUT/d .", "cannot create directory './d': Operation not permitted")
    w.costs("cp -a $OUT/d/. .", upload=2)
    w.holds({"a": b"a", "b": b"b"})
    w.is_of_then("a", THEN)


@program("mv in")
def mv_in(w):
    "the source is removed only where the file has arrived"
    w.outside("f", LARGE)
    w.costs("mv $OUT/f .", upload=1)
    w.holds({"f": LARGE})
    if (w.out / "f").exists():
        raise Wrong("the source is still there")


@program("mv out")
def mv_out(w):
    "an own file: no download; an output: one download"
    w.outside("f", LARGE)
    w.sh("cp $OUT/f f")
    w.costs("mv f $OUT/moved", delete=1)
    same("what was moved", (w.out / "moved").read_bytes(), LARGE)
    w.outputs(chart=ONE)
    w.costs("mv chart $OUT/chart", content=1, delete=1)
    same("what was moved", (w.out / "chart").read_bytes(), ONE)
    w.holds({})


@program("mv inside")
def mv_inside(w):
    "a new name; over another file; not over one with -n; a file on its way is sent once"
    w.costs("echo one >a", upload=1)
    w.costs("mv a b", upload=1, delete=1)
    w.holds({"b": ONE})
    w.costs("cp b c", upload=1)
    w.costs("echo two, and longer >d; mv d b", upload=2, delete=2)
    w.costs("mv -n b c")
    w.holds({"b": TWO, "c": ONE})
    w.costs("touch e; mv e f; echo one >f", upload=1)
    w.holds({"b": TWO, "c": ONE, "f": ONE})


@program("install")
def install(w):
    "new and over another file; the mode stays 0600"
    w.outside("f", ONE)
    w.costs("install -m 755 $OUT/f .", upload=1)
    w.outside("f", TWO)
    w.costs("install -m 644 -p $OUT/f .", upload=1, delete=1)
    w.holds({"f": TWO})
    mode = stat.S_IMODE((w.point / "f").stat().st_mode)
    if mode != 0o600:
        raise Wrong(f"its mode is {mode:o}")


@program("dd")
def dd(w):
    "in blocks; conv=fsync; into the middle of a file; with holes"
    w.outside("large", LARGE)
    w.costs("dd status=none if=$OUT/large of=a bs=4k", upload=1)
    w.costs("dd status=none if=$OUT/large of=b bs=64k conv=fsync", upload=1)
    w.costs("dd status=none if=$OUT/large of=c bs=1M oflag=sync", upload=1)
    w.costs("printf XY | dd status=none of=a bs=1 seek=1000 conv=notrunc", upload=1, delete=1)
    w.costs("printf end | dd status=none of=d bs=1 seek=5000", upload=1)
    w.holds(
        {"a": LARGE[:1000] + b"XY" + LARGE[1002:], "b": LARGE, "c": LARGE, "d": bytes(5000) + b"end"},
    )


@program("tee")
def tee(w):
    "one file, two at once, appending"
    w.costs("echo one | tee a", upload=1)
    w.costs("(echo one; sleep 0.1; echo one) | tee b c >/dev/null", upload=2)
    w.costs("echo one | tee -a a", upload=1, delete=1)
    w.holds({name: ONE + ONE for name in "abc"})


@program("cat a b > c")
def cat(w):
    "joining, appending with >>, a here-document, descriptor 3, a loop"
    w.outside("a", ONE)
    w.outside("b", TWO)
    w.costs("cp $OUT/a $OUT/b .", upload=2)
    w.costs("cat a b >c", upload=1)
    w.costs("cat b >>a", upload=1, delete=1)
    w.costs("cat >d <<'END'\none\nEND", upload=1)
    w.costs("exec 3>e; echo one >&3; cat b >&3; exec 3>&-", upload=1)
    w.costs("for n in 1 2 3; do echo $n; done >f", upload=1)
    w.holds({"a": ONE + TWO, "b": TWO, "c": ONE + TWO, "d": ONE, "e": ONE + TWO, "f": b"1\n2\n3\n"})


@program("split")
def split(w):
    "the parts, from the mount into the mount, and joined again"
    w.outside("large", LARGE)
    w.sh("cp $OUT/large .")
    w.costs("split -b 1000000 large part.", upload=4)
    w.costs("cat part.* >joined", upload=1)
    parts = {f"part.a{letter}": LARGE[n * 1_000_000 :][:1_000_000] for n, letter in enumerate("abcd")}
    w.holds({"large": LARGE, "joined": LARGE} | parts)


@program("truncate -s")
def truncate(w):
    "shorter, longer, a new file"
    w.sh("echo one >a; echo one >b")
    w.costs("truncate -s 2 a", upload=1, delete=1)
    w.costs("truncate -s 6 b", upload=1, delete=1)
    w.costs("truncate -s 3 c", upload=1)
    w.holds({"a": b"on", "b": ONE + bytes(2), "c": bytes(3)})


@program("touch")
def touch(w):
    "a new file is sent once it has content; touch -d sets a time that stays and costs nothing"
    w.costs("touch a; echo one >a", upload=1)
    w.costs(f"touch -d @{THEN} a")
    w.is_of_then("a", THEN)
    w.remount()
    w.is_of_then("a", THEN)
    w.costs("touch empty", upload=1)
    w.holds({"a": ONE, "empty": b""})


@program("rm, find -delete", "find:findutils")
def find_delete(w):
    "one deletion a file"
    w.sh("for n in $(seq 20); do echo $n >$n.log; done; echo one >kept")
    w.costs("rm 1.log 2.log", delete=2)
    w.costs("find . -name '*.log' -delete", delete=18)
    w.holds({"kept": ONE})


@program("du, df, file", "file:file")
def looking(w):
    "sizes are true and nothing is asked, but one download for each output that is opened"
    w.outside("large", LARGE)
    w.sh("cp $OUT/large .")
    w.outputs(chart=PNG + LARGE)
    size = len(LARGE) * 2 + len(PNG)
    told = int(w.costs("du --apparent-size -b -s -S . | cut -f1"))
    here = w.point.stat().st_size
    if told - here != size:
        raise Wrong(f"du: {told} bytes, {here} of them the directory's, not {size}")
    disk = int(w.costs("du -B1 -s . | cut -f1"))
    if not size <= disk <= size + 16_384:
        raise Wrong(f"du: {disk} bytes on disk, for {size}")
    if not w.costs("df --output=size . | tail -1").strip().isdigit():
        raise Wrong("df does not know a size")
    if "PNG image data" not in w.costs("file chart", content=1):
        raise Wrong("file does not know an image")
    w.costs("file large")
    w.holds({"large": LARGE, "chart": PNG + LARGE})


@program("grep -r")
def grep(w):
    "finds in own files without a request, in outputs with one download each; again without any"
    w.sh("echo needle >a; echo hay >b")
    w.outputs(c=b"another needle\n")
    for content in (1, 0):
        found = w.costs("grep -r needle . | sort", **({"content": 1} if content else {}))
        if found != "./a:needle\n./c:another needle\n":
            raise Wrong(f"finds {found!r}")
    w.holds({"a": b"needle\n", "b": b"hay\n", "c": b"another needle\n"})


@program("tail -f")
def tail_f(w):
    "sees what is appended through the mount"
    w.sh("echo one >f")
    seen = w.work / "seen"
    with open(seen, "wb") as out:
        tail = w.start(["tail", "-f", "f"], stdout=out)
    w.eventually("tail has begun", lambda: seen.read_bytes() == ONE)
    w.costs("echo two, and longer >>f", upload=1, delete=1)
    w.eventually("tail shows what was appended", lambda: seen.read_bytes() == ONE + TWO)
    w.stop(tail)
    w.holds({"f": ONE + TWO})
