"""What looks at everything by itself."""

from registry import program
from world import Wrong


# Whoever has the package has the whole machine looked through every day.
@program("updatedb", "updatedb:plocate", large=True)
def updatedb(w):
    "plocate's: lists the names and opens nothing; fuse.afs in PRUNEFS keeps it out, afs does not"
    w.sh("echo one >own")
    w.outputs(chart=b"<svg/>")
    w.foreign(theirs=b"theirs\n")
    files = ["chart", "own", "theirs"]
    for kept_out, found in (("", files), ("afs", files), ("fuse.afs", [])):
        database = w.work / f"names {kept_out}"
        scan = ["updatedb", "--require-visibility", "0", "--database-root", w.work, "--output", database]
        # The paths that the system's own settings keep out have this mount among them.
        w.costs([*scan, "--prunepaths", "", "--prunefs", kept_out])
        listed = w.sh(["plocate", "--database", database, "--literal", ""]).splitlines()
        if not any(path.startswith(f"{w.out}") for path in listed):
            raise Wrong(f"what is beside the mount is not listed: {listed}")
        names = [path.removeprefix(f"{w.point}/") for path in listed if path.startswith(f"{w.point}/")]
        if sorted(names) != found:
            raise Wrong(f"with PRUNEFS {kept_out!r} there is {names}, not {found}")
    w.costs("rm theirs", delete=1)
    w.holds({"chart": b"<svg/>", "own": b"one\n"})
