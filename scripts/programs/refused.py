"""What is refused: with which words, at no cost, and with nothing left behind."""

import os

from registry import program
from world import Wrong

NOT_PERMITTED = "Operation not permitted"


@program("mkdir, ln")
def kinds(w):
    "directories, links, pipes: Operation not permitted"
    w.sh("echo one >f")
    w.refuses("mkdir d", f"mkdir: cannot create directory .d.: {NOT_PERMITTED}")
    w.refuses("ln f g", NOT_PERMITTED)
    w.refuses("ln -s f g", NOT_PERMITTED)
    w.refuses("mkfifo g", NOT_PERMITTED)
    w.holds({"f": b"one\n"})


@program("chmod, chown")
def modes(w):
    "ignored without an error"
    w.sh("echo one >f")
    w.costs("chmod 755 f; chown 1000:1000 f")
    if oct((w.point / "f").stat().st_mode) != "0o100600":
        raise Wrong("the mode is another")
    w.holds({"f": b"one\n"})


@program("mv of an output")
def mv_of_an_output(w):
    "Operation not permitted, for it could never be downloaded again; cp, then rm, works"
    w.outputs(chart=b"one\n")
    w.refuses("mv chart other", NOT_PERMITTED)
    w.holds({"chart": b"one\n"})
    w.costs("cp chart other && rm chart", upload=1, delete=1)
    w.holds({"other": b"one\n"})


@program("foreign uploads")
def foreign(w):
    "listed, and Permission denied to whoever reads or appends; replacing and removing work"
    w.foreign(theirs=b"theirs\n")
    w.refuses("cat theirs", "Permission denied")
    w.refuses("echo more >>theirs", "Permission denied")
    w.refuses("cp theirs $OUT/", "Permission denied")
    if os.access(w.point / "theirs", os.R_OK) and os.getuid() != 0:
        raise Wrong("its mode says that it can be read")
    w.costs("echo mine >theirs", upload=1, delete=1)
    w.holds({"theirs": b"mine\n"})


@program("names")
def names(w):
    "what the service would refuse is refused at once: Invalid argument, File name too long"
    for name in ('a"b', "a:b", "a*b", "a?b", "a|b", "a<b", "a\\b"):
        w.refuses(["cp", "/etc/hostname", name], "Invalid argument")
    w.refuses(["cp", "/etc/hostname", "x" * 256], "File name too long")
    w.holds({})


@program("sizes")
def sizes(w):
    "over 500 MB: File too large, at the truncate or write that crosses it; room in advance is had up to there, of one kind"
    w.sh("echo one >f")
    w.refuses("truncate -s 501M f", "File too large")
    w.refuses("printf x | dd of=f bs=1 seek=501M conv=notrunc", "File too large")
    w.refuses("fallocate -l 501M f", "File too large")
    w.refuses("fallocate -n -l 1M f", "keep size mode is unsupported")
    w.refuses("fallocate -z -l 2 f", "Operation not supported")
    w.holds({"f": b"one\n"})
    w.costs("fallocate -l 1M f", upload=1, delete=1)
    w.holds({"f": b"one\n" + bytes((1 << 20) - 4)})


@program("git", "git:git")
def git(w):
    "init and clone are refused in words, for they need directories; nothing is left"
    w.sh("git init -q -b main $OUT/repository")
    w.refuses("git clone -q $OUT/repository d", f"could not create work tree dir .d.: {NOT_PERMITTED}")
    w.refuses("git init -q .", rf"\.git: {NOT_PERMITTED}")
    w.holds({})


@program("gcc -o", "gcc:gcc,libc6-dev")
def gcc(w):
    "the program is written and right, and can't be started from here: Permission denied"
    w.outside("hello.c", b"int main(void) { return 7; }\n")
    w.costs("gcc -o hello $OUT/hello.c", upload=1)
    w.refuses("./hello", "Permission denied")
    w.sh("gcc -o $OUT/hello $OUT/hello.c; cp hello $OUT/copy; chmod 700 $OUT/copy")
    if w.run("$OUT/copy").returncode != 7:
        raise Wrong("the copy outside does not run")
    # The linker removes what was there first.
    w.costs("gcc -o hello $OUT/hello.c", upload=1, delete=1)
    w.holds({"hello": (w.out / "hello").read_bytes()})
