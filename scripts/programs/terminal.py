"""A terminal with nobody at it: for programs that want one, such as editors."""

import contextlib
import fcntl
import os
import pty
import select
import struct
import termios
import time

from world import PATIENCE, Wrong


class Terminal:
    """A program of the world that runs in a terminal of 80 by 24."""

    def __init__(self, world, *command):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.world = world
        self.screen = b""
        self._fd = ours
        try:
            self._process = world.start(list(command), stdin=theirs, stdout=theirs, stderr=theirs)
        finally:
            os.close(theirs)

    def _read(self):
        """What the program writes has to be read, or it stops."""
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more.
            while select.select([self._fd], [], [], 0)[0]:
                more = os.read(self._fd, 65536)
                if not more:
                    return
                self.screen += more

    def wait(self, what, condition):
        """Until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self._read()
            if time.monotonic() > deadline:
                self.world.note(f"  screen: {self.screen!r}")
                raise Wrong(f"in vain for {PATIENCE} s: {what}")
            time.sleep(0.02)

    def wait_for(self, text):
        """Until the program has written something since the last keys."""
        self.wait(f"the program shows {text!r}", lambda: text.encode() in self.screen)

    def type(self, keys):
        self._read()
        self.screen = b""
        self.world.note(f"  types {keys!r}")
        os.write(self._fd, keys.encode())

    def wait_end(self):
        self.wait("the program ends", lambda: self._process.poll() is not None)
        os.close(self._fd)
        if self._process.returncode != 0:
            self.world.note(f"  screen: {self.screen!r}")
            raise Wrong(f"the program ended with {self._process.returncode}")

    def kill(self):
        """As when the machine has no memory left."""
        self._process.kill()
        self._process.wait()
        os.close(self._fd)
