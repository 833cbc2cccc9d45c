"""A server of files that misbehaves on request, for tests of the copier."""

import hashlib
import random
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from re import fullmatch

PIECE = 64 * 1024


@dataclass(frozen=True)
class RangeRequest:
    """A request for bytes from `start` up to, but not including, `end`."""

    start: int
    end: int
    if_match: str | None
    headers: dict[str, str]
    path: str = ""


Fault = Callable[["Handler", RangeRequest], bool]
"""Responds to a request and returns True, or returns False to have it served."""


@dataclass
class FileServer:
    """A file with ranges and an ETag. Each request is first offered to `fault`."""

    content: bytes
    etag: str = '"etag-1"'
    url: str = ""
    fault: Fault = field(default=lambda _handler, _request: False)
    requests: list[RangeRequest] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def sha256(self) -> str:
        return b64encode(hashlib.sha256(self.content).digest()).decode()

    def bytes_requested(self) -> int:
        """The bytes of all ranges, without the single byte that is requested for size and ETag."""
        return sum(each.end - each.start for each in self.requests if each.if_match)


class Handler(BaseHTTPRequestHandler):
    """Serves the FileServer in `files`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    files: FileServer

    def do_GET(self) -> None:
        request = self._request()
        with self.files.lock:
            self.files.requests.append(request)
        if not self.files.fault(self, request):
            self.serve(request)

    def serve(self, request: RangeRequest) -> None:
        """Respond as S3 does."""
        files = self.files
        if request.if_match not in {None, files.etag}:
            self.refuse(412)
        elif request.start >= len(files.content):
            self.refuse(416, Content_Range=f"bytes */{len(files.content)}")
        else:
            self.start_body(request)
            with memoryview(files.content)[request.start : request.end] as body:
                self.wfile.write(body)

    def start_body(self, request: RangeRequest, **headers: str) -> None:
        """Send the head of a 206; `headers` replace its headers, and empty ones are left out."""
        end = min(request.end, len(self.files.content))
        sent = {
            "Content-Length": str(end - request.start),
            "Content-Range": f"bytes {request.start}-{end - 1}/{len(self.files.content)}",
            "ETag": self.files.etag,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        self.send_response(206)
        for name, value in sent.items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def refuse(self, status: int, **headers: str) -> bool:
        """Respond without a body; return True."""
        self.send_response(status)
        for name, value in {"Content_Length": "0", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        return True

    def log_message(self, *_: object) -> None:
        pass

    def _request(self) -> RangeRequest:
        found = fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        assert found
        headers = {name.lower(): value for name, value in self.headers.items()}
        return RangeRequest(
            int(found[1]), int(found[2]) + 1, self.headers["If-Match"], headers, self.path
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Print nothing: clients close connections early, and faults break them."""


@contextmanager
def serving(content: bytes, tls: ssl.SSLContext | None = None) -> Iterator[FileServer]:
    """Serve a file on loopback."""
    files = FileServer(content)
    handler = type("OneFile", (Handler,), {"files": files})
    with _Server(("127.0.0.1", 0), handler) as server:
        files.url = f"http://127.0.0.1:{server.server_port}/archive.mp4?signature=secret"
        if tls:
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield files
        finally:
            server.shutdown()
            thread.join()


def some_bytes(size: int, seed: int = 1) -> bytes:
    """Return random bytes, the same for each call."""
    return random.Random(seed).randbytes(size)
