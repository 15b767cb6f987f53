"""A web server on loopback that serves one recording, with ranges or without, and fails as it is told to."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class HttpStore:
    """content: of every path. ranges: whether they are served. drops: how many answers break off, each after ``keep``
    bytes, once the client has ``taken`` so many. statuses: what the next answers are instead. redirect: where /moved
    leads. etags: of the next answers."""

    content: bytes = b""
    ranges: bool = True
    drops: int = 0
    keep: int = 1000
    taken: float = math.inf
    statuses: list[int] = field(default_factory=list)
    redirect: str = ""
    etags: list[str] = field(default_factory=list)
    endless: bool = False
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    port: int = 0

    def url(self, path: str = "/talk.flac", host: str = "127.0.0.1", user: str = "") -> str:
        return f"http://{user}{host}:{self.port}{path}"


@contextmanager
def http_store(store: HttpStore) -> Iterator[HttpStore]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            store.requests.append((self.path, self.headers.get("Range")))
            if store.statuses:
                self.answer(store.statuses.pop(0), b"")
            elif self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Location", store.redirect)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif store.endless:
                self.stream()
            else:
                self.serve()

        do_HEAD = do_GET

        def serve(self) -> None:
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if not (match and store.ranges):
                self.answer(200, store.content)
                return
            start, total = int(match[1]), len(store.content)
            if start >= total:
                self.answer(416, b"", **{"Content-Range": f"bytes */{total}"})
                return
            end = min(int(match[2]) + 1, total) if match[2] else total
            self.answer(206, store.content[start:end], **{"Content-Range": f"bytes {start}-{end - 1}/{total}"})

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            etag = store.etags.pop(0) if store.etags else "one"
            for name, value in {"Content-Length": str(len(body)), "ETag": f'"{etag}"', **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if store.drops and body:
                store.drops -= 1
                self.wfile.write(body[: store.keep])
                while store.taken < store.keep:  # a client may lose what it has not taken when the connection drops
                    time.sleep(0.01)
                self.close_connection = True
                return
            self.wfile.write(body)

        def stream(self) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    store.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
