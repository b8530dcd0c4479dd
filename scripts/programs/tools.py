"""Programs that write a file beside and rename it, and databases."""

from registry import program
from world import Wrong

REPLACED = {"upload": 1, "delete": 1}


@program("os.replace", "/usr/bin/python3:python3")
def os_replace(w):
    "Python's tempfile and os.replace: a replacement"
    w.sh("echo one >f")
    w.outside(
        "save.py",
        b"""
import os, tempfile
with tempfile.NamedTemporaryFile("w", dir=".", delete=False) as beside:
    beside.write("saved one\\n")
    beside.flush()
    os.fsync(beside.fileno())
os.replace(beside.name, "f")
directory = os.open(".", os.O_RDONLY)
os.fsync(directory)
""",
    )
    w.costs("/usr/bin/python3 $OUT/save.py", **REPLACED)
    w.holds({"f": b"saved one\n"})


@program("tempfile", "/usr/bin/python3:python3")
def tempfile(w):
    "Python's temporary files cost nothing when they are gone; temporary directories are refused in words"
    w.outside(
        "temporary.py",
        b"""
import tempfile
with tempfile.NamedTemporaryFile(dir=".") as named, tempfile.TemporaryFile(dir=".") as unnamed:
    for file in (named, unnamed):
        file.write(b"x" * 100_000)
        file.seek(0)
        assert file.read() == b"x" * 100_000
""",
    )
    w.costs("/usr/bin/python3 $OUT/temporary.py")
    w.refuses("/usr/bin/python3 -c 'import tempfile; tempfile.mkdtemp(dir=\".\")'", "PermissionError.*Operation not permitted")
    w.holds({})


@program("shutil.copy2", "/usr/bin/python3:python3")
def copy2(w):
    "with its time; shutil.move inside; open() in modes w, a, r+ and x"
    w.sh("echo one >$OUT/f; touch -d @1000000000 $OUT/f")
    w.costs("/usr/bin/python3 -c 'import shutil; shutil.copy2(\"../out/f\", \"f\")'", upload=1)
    w.is_of_then("f", 1_000_000_000)
    w.costs("/usr/bin/python3 -c 'import shutil; shutil.move(\"f\", \"g\")'", **REPLACED)
    w.costs("/usr/bin/python3 -c 'open(\"g\", \"a\").write(\"two\\n\")'", **REPLACED)
    w.costs("/usr/bin/python3 -c 'open(\"g\", \"r+\").write(\"O\")'", **REPLACED)
    w.costs("/usr/bin/python3 -c 'open(\"h\", \"x\").write(\"one\\n\")'", upload=1)
    w.refuses("/usr/bin/python3 -c 'open(\"h\", \"x\")'", "FileExistsError")
    w.holds({"g": b"One\ntwo\n", "h": b"one\n"})


def rows(w):
    return w.costs("sqlite3 t.db 'select * from t order by 1'")


@program("sqlite3", "sqlite3:sqlite3")
def sqlite(w):
    "with its rollback journal: works, a session is one upload; the journal is never sent; two at once"
    w.costs("sqlite3 t.db 'create table t(x); insert into t values (1);'", upload=1)
    w.costs("sqlite3 t.db 'begin; insert into t values (2); insert into t values (3); commit;'", **REPLACED)
    w.costs("sqlite3 t.db 'begin; insert into t values (4); rollback;'")
    two = "sqlite3 -cmd '.timeout 20000' t.db 'insert into t values (%d)' & "
    w.sh(two % 5 + two % 6 + "wait")
    if rows(w) != "1\n2\n3\n5\n6\n":
        raise Wrong("rows are missing")
    w.holds({"t.db": (w.point / "t.db").read_bytes()})
    stored = w.outside("stored.db", dict(w.stored())["t.db"])
    if w.sh(f"sqlite3 {stored} 'pragma integrity_check; select count(*) from t'") != "ok\n5\n":
        raise Wrong("the database at the service is not whole")


@program("sqlite3, WAL", "sqlite3:sqlite3")
def sqlite_wal(w):
    "with a write-ahead log"
    w.costs("sqlite3 t.db 'pragma journal_mode=wal; create table t(x); insert into t values (1);'", upload=1)
    w.costs("sqlite3 t.db 'insert into t values (2);'", **REPLACED)
    if rows(w) != "1\n2\n":
        raise Wrong("rows are missing")
    w.holds({"t.db": (w.point / "t.db").read_bytes()})


@program("git bundle", "git:git")
def git_bundle(w):
    "a repository as one file, and a clone from it; git archive"
    identity = "-c user.name=Ada -c user.email=ada@example.com"
    w.sh(f"git init -q -b main $OUT/r; cd $OUT/r; echo one >f; git add f; git {identity} commit -q -m one")
    w.costs("git -C $OUT/r bundle create -q $MOUNT/r.bundle HEAD", upload=1)
    w.costs("git clone -q r.bundle $OUT/clone", quiet=False)
    if (w.out / "clone/f").read_bytes() != b"one\n":
        raise Wrong("the clone is another")
    w.costs("git -C $OUT/r archive -o $MOUNT/r.zip HEAD", upload=1)
    w.holds({name: (w.point / name).read_bytes() for name in ("r.bundle", "r.zip")})
