"""A web server on this machine, for the programs that download."""

import contextlib
import http.server
import re
import threading


@contextlib.contextmanager
def serve(files, broken_off=None, halfway=None):
    """Serves files by name, with ranges, at the address it gives. The first answer ends after `broken_off` bytes;
    `halfway` is called when half of an answer is sent."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            nonlocal broken_off
            content = files.get(self.path.lstrip("/"))
            if content is None:
                self.send_error(404)
                return
            begin = 0
            if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", "")):
                begin = int(asked[1])
            if begin >= len(content) > 0:
                self.send_response(416)
                self.send_header("content-range", f"bytes */{len(content)}")
                self.send_header("content-length", "0")
                self.end_headers()
                return
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("content-range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            self.send_header("accept-ranges", "bytes")
            self.send_header("content-type", "text/html" if self.path.endswith(".html") else "application/octet-stream")
            self.send_header("content-length", str(len(content) - begin))
            self.end_headers()
            if broken_off is not None:
                content, broken_off = content[: begin + broken_off], None
                self.close_connection = True
            half = begin + (len(content) - begin) // 2
            self.wfile.write(content[begin:half])
            if halfway:
                self.wfile.flush()
                halfway(self.path.lstrip("/"))
            self.wfile.write(content[half:])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
