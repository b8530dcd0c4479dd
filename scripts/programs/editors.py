"""Editors: a save is one upload, and what they write beside the file stays on this machine."""

import os

from registry import program
from terminal import Terminal
from world import Wrong

ONE = b"one\n"
SAVED = b"saved one\n"
# What replacing a file takes.
REPLACED = {"upload": 1, "delete": 1}
# Neither the system's settings nor somebody's own, but one: vim makes no backups below /tmp, where this mount may be.
VIM = ["vim", "-N", "-u", "NONE", "-i", "NONE", "+set backupskip="]


@program("sed -i", "sed:sed")
def sed(w):
    "a replacement; with a backup of its own name, two uploads"
    w.sh("echo one >f")
    w.costs("sed -i 's/^/saved /' f", **REPLACED)
    w.holds({"f": SAVED})
    w.costs("sed -i.bak 's/saved //' f", upload=2, delete=1)
    w.holds({"f": ONE, "f.bak": SAVED})
    w.costs("sed -i~ 's/^/saved /' f", **REPLACED)
    w.holds({"f": SAVED, "f.bak": SAVED}, scratch=["f~"])


@program("perl -i", "perl:perl")
def perl(w):
    "a replacement; several files"
    w.sh("echo one >f; echo one >g")
    w.costs("perl -pi -e 's/^/saved /' f", **REPLACED)
    w.costs("perl -pi -e 's/one/two/' f g", upload=2, delete=2)
    w.holds({"f": b"saved two\n", "g": b"two\n"})


@program("patch, ed, sort -o", "patch:patch ed:ed diff:diffutils")
def patch(w):
    "each is a replacement"
    w.sh("seq 9 >f")
    w.costs("seq 8 -1 1 >$OUT/new; diff f $OUT/new >$OUT/patch; patch -s f $OUT/patch", **REPLACED)
    w.costs("sort -o f f", **REPLACED)
    w.costs("printf '1d\nw\nq\n' | ed -s f", **REPLACED)
    w.holds({"f": b"2\n3\n4\n5\n6\n7\n8\n"})


def vim(w, *settings):
    """Saves an existing file and a new one in a real vim, with its swap files, looking at each while it is open."""
    w.sh("echo one >f")
    for name, keys, expected, cost in (("f", "Isaved \x1b", SAVED, REPLACED), ("new", "ione\x1b", ONE, {"upload": 1})):
        with w.costing(**cost):
            editor = Terminal(w, *VIM, *settings, name)
            editor.wait("vim has its swap file", lambda: f".{name}.swp" in os.listdir(w.point))
            editor.type(keys + ":w\r")
            editor.wait("vim has written", lambda: dict(w.stored()).get(name) == expected)
            # Of a file that is saved and edited on, the swap file is written too.
            editor.type("oand more\x1b:preserve\r")
            editor.wait_for("File preserved")
            editor.type(":q!\r")
            editor.wait_end()
    w.holds({"f": SAVED, "new": ONE}, scratch=["f~"] if "+set backup" in settings else [])


@program("vim", "vim:vim")
def vim_auto(w):
    ":w of an existing and of a new file, with swap files; as vim is set up"
    vim(w)


@program("vim, copying", "vim:vim")
def vim_copies(w):
    "the same with backupcopy=yes, which writes into the file"
    vim(w, "+set backupcopy=yes")


@program("vim, renaming", "vim:vim")
def vim_renames(w):
    "the same with backupcopy=no, which moves the old file away"
    vim(w, "+set backupcopy=no")


@program("vim, backup", "vim:vim")
def vim_backup(w):
    "the same with a backup that stays: f~ is not sent"
    vim(w, "+set backup")


@program("vim, twice", "vim:vim")
def vim_twice(w):
    "three saves in one session are three replacements; after a kill the swap file is there"
    w.sh("echo one >f")
    with w.costing(upload=3, delete=3):
        editor = Terminal(w, *VIM, "f")
        editor.wait("vim has its swap file", lambda: ".f.swp" in os.listdir(w.point))
        for n in (1, 2, 3):
            editor.type(f"o{n}\x1b:w\r")
            text = ONE + b"".join(b"%d\n" % line for line in range(1, n + 1))
            editor.wait("vim has written", lambda text=text: w.stored() == [("f", text)])
        editor.type("olost without it\x1b:preserve\r")
        editor.wait_for("File preserved")
        editor.kill()
    w.holds({"f": ONE + b"1\n2\n3\n"}, scratch=[".f.swp"])
    w.remount()
    w.costs("vim -N -u NONE -i NONE -es -r f '+w! $OUT/recovered' +q!; rm .f.swp")
    if b"lost without it" not in (w.out / "recovered").read_bytes():
        raise Wrong("nothing is recovered")
    w.holds({"f": ONE + b"1\n2\n3\n"})


@program("nano", "nano:nano")
def nano(w):
    "an existing and a new file, with lock file and backup"
    w.sh("echo one >f")
    for name, keys, expected, cost in (("f", "saved ", SAVED, REPLACED), ("new", "one", ONE, {"upload": 1})):
        with w.costing(**cost):
            editor = Terminal(w, "nano", "--ignorercfiles", "--locking", "--backup", name)
            editor.wait("nano has its lock file", lambda: f".{name}.swp" in os.listdir(w.point))
            editor.type(keys + "\x0f")
            editor.wait_for("File Name to Write")
            editor.type("\r")
            editor.wait("nano has written", lambda: dict(w.stored()).get(name) == expected)
            editor.type("\x18")
            editor.wait_end()
    w.holds({"f": SAVED, "new": ONE}, scratch=["f~"])


@program("emacs", "emacs:emacs-nox", large=True)
def emacs(w):
    "an existing file with a backup, an auto-save and a lock; a new file"
    w.sh("echo one >f")
    edit = """(progn
      (setq make-backup-files t backup-enable-predicate (lambda (_) t) create-lockfiles t)
      (find-file "f") (auto-save-mode 1) (insert "saved ") (do-auto-save)
      (princ (mapconcat 'identity (directory-files "." nil "#") " "))
      (save-buffer))"""
    beside = w.costs(["emacs", "-Q", "--batch", "--eval", edit], quiet=False, **REPLACED)
    if not {"#f#", ".#f"} <= set(beside.split()):
        raise Wrong(f"beside the file emacs has {beside!r}")
    w.holds({"f": SAVED}, scratch=["f~"])
    edit = '(progn (find-file "new") (insert "one\\n") (save-buffer))'
    w.costs(["emacs", "-Q", "--batch", "--eval", edit], quiet=False, upload=1)
    w.holds({"f": SAVED, "new": ONE}, scratch=["f~"])
