"""What copies many files or parts of them: rsync, archives, downloads."""

import os
import tarfile

from registry import program
from server import serve
from world import Wrong, same

ONE = b"one\n"
LARGE = bytes(range(256)) * 12_000
THEN = 1_000_000_000


def tree(w, **files):
    for name, content in files.items():
        os.utime(w.outside(f"d/{name}", content), (THEN, THEN))


@program("rsync -a", "rsync:rsync")
def rsync(w):
    "new files; a second time nothing is sent, after a remount neither; a changed file; --delete"
    tree(w, a=ONE, b=LARGE)
    copy = "rsync -a --itemize-changes --omit-dir-times --no-perms --delete $OUT/d/ ."
    w.costs(copy, upload=2)
    w.holds({"a": ONE, "b": LARGE})
    w.is_of_then("a", THEN)
    for _ in range(2):
        if changed := w.costs(copy):
            raise Wrong(f"the second time it changes {changed!r}")
        w.remount()
    w.outside("d/a", b"changed\n")
    w.costs(copy, upload=1, delete=1)
    (w.out / "d/b").unlink()
    w.costs(copy, delete=1)
    w.holds({"a": b"changed\n"})


@program("rsync -a, plain", "rsync:rsync")
def rsync_plain(w):
    "the same without further options: works, and sends nothing a second time"
    tree(w, a=ONE, b=LARGE)
    w.costs("rsync -a $OUT/d/ .", upload=2)
    w.costs("rsync -a $OUT/d/ .")
    w.holds({"a": ONE, "b": LARGE})


@program("rsync --inplace", "rsync:rsync")
def rsync_inplace(w):
    "a change in the middle; --append; directories are refused in words, --delay-updates discards in words"
    tree(w, a=LARGE)
    w.costs("rsync -a --inplace $OUT/d/a .", upload=1)
    changed = LARGE[:500_000] + b"changed" + LARGE[500_007:]
    w.outside("d/a", changed)
    w.costs("rsync -a --inplace --no-whole-file $OUT/d/a .", upload=1, delete=1)
    w.holds({"a": changed})
    w.outside("d/a", changed + ONE)
    w.costs("rsync -a --append $OUT/d/a .", upload=1, delete=1)
    w.holds({"a": changed + ONE})
    w.refuses("rsync -a $OUT/d .", "recv_generator: mkdir .* failed: Operation not permitted")
    # rsync's own trap: without its directory it discards the file, says so, and ends with 0.
    if "discarding completed file" not in w.costs("rsync -a --delay-updates $OUT/d/a b 2>&1"):
        raise Wrong("--delay-updates says nothing")
    w.holds({"a": changed + ONE})


@program("tar x", "tar:tar")
def tar_x(w):
    "flat archives, with their times; of one with directories the files beside them arrive, the rest is said"
    tree(w, a=ONE, b=LARGE)
    w.sh("tar cf $OUT/flat.tar -C $OUT/d a b; tar czf $OUT/deep.tgz -C $OUT d flat.tar")
    w.costs("tar xf $OUT/flat.tar", upload=2)
    w.holds({"a": ONE, "b": LARGE})
    w.is_of_then("b", THEN)
    w.refuses("tar xzf $OUT/deep.tgz", "tar: d: Cannot mkdir: Operation not permitted", upload=1)
    w.holds({"a": ONE, "b": LARGE, "flat.tar": (w.out / "flat.tar").read_bytes()})


@program("tar c", "tar:tar")
def tar_c(w):
    "of the mount and into it, with no complaint that a file changed; an output is one download"
    w.outside("large", LARGE)
    w.sh("cp $OUT/large own")
    w.outputs(chart=LARGE)
    w.costs("tar cf $OUT/all.tar .", content=1)
    w.costs("tar czf all.tgz own chart", upload=1)
    for archive, prefix in ((w.out / "all.tar", "./"), (w.point / "all.tgz", "")):
        with tarfile.open(archive) as tar:
            for name in ("own", "chart"):
                same(f"{name} in {archive.name}", tar.extractfile(prefix + name).read(), LARGE)
    w.holds({"own": LARGE, "chart": LARGE, "all.tgz": (w.point / "all.tgz").read_bytes()})


@program("zip, unzip", "zip:zip unzip:unzip")
def zip_(w):
    "new, with one file more, read, unpacked; directories are refused in words"
    tree(w, a=ONE, b=LARGE)
    w.costs("zip -q -j f.zip $OUT/d/a", upload=1)
    w.costs("zip -q -j f.zip $OUT/d/b", upload=1, delete=1)
    w.costs("unzip -tq f.zip")
    w.costs("unzip -q f.zip", upload=2)
    w.holds({"a": ONE, "b": LARGE, "f.zip": (w.point / "f.zip").read_bytes()})
    w.is_of_then("a", THEN)
    w.sh("cd $OUT; zip -q -r deep.zip d")
    w.refuses("unzip -q $OUT/deep.zip", "cannot create extraction directory|checkdir error.*cannot create d")
    w.holds({"a": ONE, "b": LARGE, "f.zip": (w.point / "f.zip").read_bytes()})


@program("gzip, xz", "gzip:gzip xz:xz-utils bzip2:bzip2")
def gzip(w):
    "packing in place, unpacking in place, reading what is packed"
    tree(w, a=LARGE)
    w.sh("cp -p $OUT/d/a .")
    for pack, unpack, read, end in (("gzip", "gunzip", "zcat", "gz"), ("xz", "unxz", "xzcat", "xz")):
        w.costs(f"{pack} a", upload=1, delete=1)
        w.costs(f"{read} a.{end} | cmp - $OUT/d/a")
        w.costs(f"{unpack} a.{end}", upload=1, delete=1)
    w.costs("bzip2 -k a", upload=1)
    w.holds({"a": LARGE, "a.bz2": (w.point / "a.bz2").read_bytes()})
    w.is_of_then("a", THEN)


@program("curl -o", "curl:curl")
def curl(w):
    "a download; -O; resumed with -C -; a pipe into the mount"
    with serve({"f.bin": LARGE}) as base:
        w.costs(f"curl -sS -o f {base}/f.bin", upload=1)
        w.costs(f"curl -sS -O {base}/f.bin", upload=1)
        w.costs(f"curl -sS {base}/f.bin >piped", upload=1)
        w.outside("part", LARGE[:1_000_000])
        w.costs("cp $OUT/part resumed", upload=1)
        w.costs(f"curl -sS -C - -o resumed {base}/f.bin", upload=1, delete=1)
    w.holds(dict.fromkeys(("f", "f.bin", "piped", "resumed"), LARGE))


@program("wget -c", "wget:wget")
def wget(w):
    "a download; one that broke off and is resumed; complete already"
    with serve({"f.bin": LARGE}, broken_off=1_000_000) as base:
        w.refuses(f"wget -q -t 1 {base}/f.bin", "", upload=1)
        w.holds({"f.bin": LARGE[:1_000_000]})
        w.costs(f"wget -q -c {base}/f.bin", upload=1, delete=1)
        w.costs(f"wget -q -c {base}/f.bin")
        w.costs(f"wget -q -O other {base}/f.bin", upload=1)
    w.holds({"f.bin": LARGE, "other": LARGE})
