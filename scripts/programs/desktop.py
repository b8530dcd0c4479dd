"""Programs of a desktop: what saves through GIO, the office, a browser."""

import json
import os
import urllib.request
import zipfile

from registry import program
from server import serve
from world import Wrong, same

ONE = b"one\n"
LARGE = bytes(range(256)) * 12_000
REPLACED = {"upload": 1, "delete": 1}


@program("gio", "gio:libglib2.0-bin")
def gio(w):
    "copy, save, save with a backup, move, trash (refused in words)"
    w.outside("f", LARGE)
    w.costs("gio copy $OUT/f f", upload=1)
    w.costs("gio copy f g", upload=1)
    w.costs("echo one | gio save f", **REPLACED)
    w.costs("echo one | gio save new", upload=1)
    w.costs("echo two | gio save -b f", **REPLACED)
    w.holds({"f": b"two\n", "g": LARGE, "new": ONE}, scratch=["f~"])
    w.costs("gio move g h", **REPLACED)
    w.costs("gio remove new", delete=1)
    w.refuses("gio trash f", "Unable to find or create trash directory")
    w.holds({"f": b"two\n", "h": LARGE}, scratch=["f~"])


@program("g_file_replace", "/usr/lib/python3/dist-packages/gi/__init__.py:python3-gi")
def g_file_replace(w):
    "how gedit and others save: .goutputstream-* stays on this machine"
    w.sh("echo one >f")
    w.outside(
        "save.py",
        b"""
import os
from gi.repository import Gio
out = Gio.File.new_for_path("f").replace(None, False, Gio.FileCreateFlags.NONE, None)
out.write_all(b"saved one\\n", None)
out.flush(None)
beside = [name for name in os.listdir(".") if name.startswith(".goutputstream-")]
assert len(beside) == 1, os.listdir(".")
out.close(None)
""",
    )
    w.costs("/usr/bin/python3 $OUT/save.py", **REPLACED)
    w.holds({"f": b"saved one\n"})


# Opens a document in an office that listens on a pipe, changes it, and saves it as people do.
SAVE = b"""
import os, sys, time
import uno
from com.sun.star.beans import PropertyValue

pipe, url, times = sys.argv[1:]
local = uno.getComponentContext()
resolver = local.ServiceManager.createInstanceWithContext("com.sun.star.bridge.UnoUrlResolver", local)
deadline = time.monotonic() + 60
while True:
    try:
        context = resolver.resolve(f"uno:pipe,name={pipe};urp;StarOffice.ComponentContext")
        break
    except Exception:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.1)
desktop = context.ServiceManager.createInstanceWithContext("com.sun.star.frame.Desktop", context)
hidden = PropertyValue()
hidden.Name, hidden.Value = "Hidden", True
document = desktop.loadComponentFromURL(url, "_blank", 0, (hidden,))
print(*os.listdir("."))
for n in range(int(times)):
    document.Text.insertString(document.Text.Start, f"saved {n} ", False)
    document.store()
document.close(True)
desktop.terminate()
"""


@program(
    "LibreOffice",
    "soffice:libreoffice-writer-nogui /usr/lib/python3/dist-packages/uno.py:python3-uno",
    large=True,
)
def libreoffice(w):
    "converting into the mount; opening a document there and saving it twice: neither lock nor temporary files are sent"
    w.outside("letter.txt", ONE)
    office = f"soffice --headless --norestore -env:UserInstallation=file://{w.work}/office"
    w.sh(f"{office} --convert-to odt --outdir $OUT $OUT/letter.txt", quiet=False, patience=180)
    with w.costing(upload=1):
        w.sh(f"{office} --convert-to pdf --outdir . $OUT/letter.odt", quiet=False, patience=180)
    pdf = (w.point / "letter.pdf").read_bytes()
    if not pdf.startswith(b"%PDF"):
        raise Wrong("what was converted is no PDF")
    w.costs("cp $OUT/letter.odt .", upload=1)
    w.holds({"letter.pdf": pdf, "letter.odt": (w.out / "letter.odt").read_bytes()})
    w.outside("save.py", SAVE)
    with w.costing(upload=2, delete=2):
        listener = w.start([*office.split(), f"--accept=pipe,name=afs{os.getpid()};urp;"])
        beside = w.sh(
            ["/usr/bin/python3", w.out / "save.py", f"afs{os.getpid()}", f"file://{w.point}/letter.odt", "2"],
            patience=180,
        )
        w.eventually("the office ends", lambda: listener.poll() is not None)
    if ".~lock.letter.odt#" not in beside.split():
        raise Wrong(f"the document is not locked: {beside!r}")
    with zipfile.ZipFile(w.point / "letter.odt") as document:
        if b"saved 1 saved 0" not in document.read("content.xml"):
            raise Wrong("the document is not what was saved")
    w.holds({"letter.pdf": pdf, "letter.odt": (w.point / "letter.odt").read_bytes()})


class Browser:
    """Chromium, driven by its chromedriver, with a profile that was never used."""

    def __init__(self, w):
        self.w = w
        log = w.work / "driver.out"
        with open(log, "wb") as out:
            self.driver = w.start(["chromedriver", "--port=0"], stdout=out, stderr=out)
        w.eventually("chromedriver starts", lambda: "successfully on port" in log.read_text())
        self.base = f"http://127.0.0.1:{log.read_text().split('successfully on port ')[1].split('.')[0]}"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        arguments += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        arguments += ["--disable-dev-shm-usage", f"--user-data-dir={w.work}/profile"]
        preferences = {"download.default_directory": str(w.point), "download.prompt_for_download": False}
        options = {"args": arguments, "prefs": preferences, "binary": "/usr/bin/chromium"}
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options}}
        self.session = self._ask("POST", "", {"capabilities": capabilities})["sessionId"]

    def _ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}/session{path}", data=data, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def open(self, url):
        self._ask("POST", f"/{self.session}/url", {"url": url})

    def click(self, selector):
        found = self._ask("POST", f"/{self.session}/element", {"using": "css selector", "value": selector})
        self._ask("POST", f"/{self.session}/element/{next(iter(found.values()))}/click", {})

    def close(self):
        self._ask("DELETE", f"/{self.session}")
        self.w.stop(self.driver)


@program("Chromium", "/usr/bin/chromium:chromium chromedriver:chromium-driver", large=True)
def chromium(w):
    "downloads into the mount, the second of the same name; .crdownload is not sent, halfway nothing is"
    page = b"<a id=f href=f.bin download>f</a>"
    seen = []

    def halfway(name):
        if name == "f.bin":
            beside = lambda: [name for name in os.listdir(w.point) if name.endswith(".crdownload")]
            w.eventually("the browser has a file for half a download", beside)
            seen.append([line["filename"] for line in w.requests() if line["call"] != "list"])

    with serve({"page.html": page, "f.bin": LARGE}, halfway=halfway) as base:
        browser = Browser(w)
        browser.open(f"{base}/page.html")
        for name in ("f.bin", "f (1).bin"):
            with w.costing(upload=1):
                browser.click("#f")
                w.eventually("it is downloaded", lambda name=name: (w.point / name).exists() and LARGE in dict(w.stored()).values())
                w.eventually("it is sent", lambda name=name: dict(w.stored()).get(name) == LARGE)
        browser.close()
    if seen != [[], []]:
        raise Wrong(f"halfway through the downloads these were sent: {seen}")
    w.holds({"f.bin": LARGE, "f (1).bin": LARGE})
    same("the download", (w.point / "f.bin").read_bytes(), LARGE)
