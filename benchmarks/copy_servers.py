"""A source of files of any size, and an S3 that hashes and discards uploads.

`python -m benchmarks.copy_servers source|s3` prints its port and serves until it is stopped. A path
to the source is `/SIZE/BYTES_PER_SECOND`, the latter for each connection, 0 for no limit.
"""

import base64
import hashlib
import re
import socketserver
import sys
import time
from collections.abc import Mapping
from itertools import count

from benchmarks.processes import end_with_parent

BLOCK = memoryview(bytes(range(256)) * 4096)
"""1 MiB, repeated."""

CHUNK = 1024 * 1024
LIMITED_CHUNK = 64 * 1024


class Source(socketserver.StreamRequestHandler):
    """Serves ranges of a file without end, or all of it."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Respond to every request of a connection."""
        while head := read_head(self.rfile):
            size, rate = map(int, head["path"].split("/")[1:3])
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", head.get("range", ""))
            first, last = (int(found[1]), min(int(found[2]), size - 1)) if found else (0, size - 1)
            status = "206 Partial Content" if found else "200 OK"
            self.wfile.write(
                f'HTTP/1.1 {status}\r\nContent-Length: {last - first + 1}\r\nETag: "1"\r\n'
                f"Content-Range: bytes {first}-{last}/{size}\r\n\r\n".encode()
            )
            self._send(first, last + 1, rate)

    def _send(self, start: int, end: int, rate: int) -> None:
        began, first = time.monotonic(), start
        while start < end:
            offset = start % len(BLOCK)
            piece = BLOCK[offset : offset + min(end - start, LIMITED_CHUNK if rate else CHUNK)]
            self.connection.sendall(piece)
            start += len(piece)
            if rate:
                time.sleep(max(0.0, began + (start - first) / rate - time.monotonic()))


class S3(socketserver.StreamRequestHandler):
    """Accepts objects and parts; returns the checksum of their header, or computes it."""

    disable_nagle_algorithm = True
    rbufsize = 0
    uploads = count(1)

    def setup(self) -> None:
        """Allocate the memory for a piece of a body."""
        super().setup()
        self._piece = bytearray(256 * 1024)

    def handle(self) -> None:
        """Respond to every request of a connection."""
        with self.connection.makefile("rb") as stream:
            while head := read_head(stream):
                if head.get("expect"):
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                digest = self._hashed(stream, int(head.get("content-length", 0)))
                body = b""
                if head["path"].endswith("uploads"):
                    body = f"<R><UploadId>{next(self.uploads)}</UploadId></R>".encode()
                elif head["method"] == "POST":
                    body = b"<R><ETag>1</ETag></R>"
                self.wfile.write(
                    f'HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nETag: "1"\r\n'
                    f"x-amz-request-id: 1\r\nx-amz-checksum-sha256: {digest}\r\n\r\n".encode()
                    + body
                )

    def _hashed(self, stream: object, length: int) -> str:
        received = hashlib.sha256()
        view = memoryview(self._piece)
        while length:
            read: int = stream.readinto(view[: min(length, len(view))])  # type: ignore[attr-defined]
            if not read:
                break
            received.update(view[:read])
            length -= read
        return base64.b64encode(received.digest()).decode()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Print nothing: clients close connections."""


def read_head(stream: object) -> Mapping[str, str]:
    """Return method, path and headers of a request; nothing at the end of the connection."""
    lines: list[str] = []
    while line := stream.readline().decode().strip():  # type: ignore[attr-defined]
        lines.append(line)
    if not lines:
        return {}
    method, path, _ = lines[0].split(" ")
    headers = (line.partition(": ") for line in lines[1:])
    return {"method": method, "path": path, **{name.lower(): value for name, _, value in headers}}


def main() -> None:
    """Serve on a free port of the loopback interface."""
    with _Server(("127.0.0.1", 0), {"source": Source, "s3": S3}[sys.argv[1]]) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    end_with_parent()
    main()
