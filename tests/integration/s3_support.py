"""The part of S3 that the copier uses, as strict as S3, with faults on request.

Checksums, sizes, conditional writes and multipart uploads follow the Amazon S3 API reference.
"""

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qs, unquote, urlsplit

MIN_PART = 5 * 1024 * 1024


@dataclass
class StoredUpload:
    """A multipart upload; `parts` has content and checksum by number."""

    key: str
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass
class StoredVersion:
    """An object: content, S3's checksum and version."""

    content: bytes
    checksum: str
    version: str


Fault = Callable[[str, str], int | None]
"""Returns the status of a failure for a method and path with query, or None."""


@dataclass
class S3Server:
    """The contents of a bucket with versioning, and the requests for it."""

    url: str = ""
    uploads: dict[str, StoredUpload] = field(default_factory=dict)
    objects: dict[str, StoredVersion] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    writes: int = 0
    """The number of times that an object was made."""
    fault: Fault = lambda _method, _path: None
    after: Callable[[str, str], bool] = lambda _method, _path: False
    """Returns True for a request that takes effect, but whose response is lost."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def sent_parts(self) -> list[int]:
        """The part numbers of all uploads of a part, in order."""
        queries = [
            parse_qs(urlsplit(path).query) for method, path in self.requests if method == "PUT"
        ]
        return [int(query["partNumber"][0]) for query in queries if "partNumber" in query]


def sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


_CODES = {409: "ConditionalRequestConflict", 503: "SlowDown"}


class _Refused(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    s3: S3Server

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.s3.lock:
            self.s3.requests.append((self.command, self.path))
            try:
                self._fail()
                headers, content = self._act(body)
            except _Refused as refused:
                headers, content = {}, f"<Error><Code>{refused.code}</Code></Error>".encode()
                return self._send(refused.status, headers, content)
            if self.s3.after(self.command, self.path):
                self.close_connection = True
                return None
        return self._send(204 if self.command == "DELETE" else 200, headers, content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = respond  # noqa: N815 - the base's names

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        self.send_header("x-amz-request-id", "REQUEST")
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(content)

    def _fail(self) -> None:
        if status := self.s3.fault(self.command, self.path):
            raise _Refused(status, _CODES.get(status, "InternalError"))

    def _act(self, body: bytes) -> tuple[dict[str, str], bytes]:
        parts = urlsplit(self.path)
        key = unquote(parts.path).removeprefix("/copies/")
        query = {
            name: values[0]
            for name, values in parse_qs(parts.query, keep_blank_values=True).items()
        }
        if "list-type" in query:
            return {}, self._found(query["prefix"])
        if "uploads" in query:
            upload_id = f"upload-{next(self.s3.numbers)}"
            self.s3.uploads[upload_id] = StoredUpload(key)
            return {}, f"<R><UploadId>{upload_id}</UploadId></R>".encode()
        if "uploadId" in query:
            return self._on_upload(key, query, body)
        return self._on_object(key, body)

    def _found(self, prefix: str) -> bytes:
        """One key: `max-keys` is 1."""
        keys = sorted(key for key in self.s3.objects if key.startswith(prefix))
        contents = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys[:1])
        return f"<R><KeyCount>{len(keys[:1])}</KeyCount>{contents}</R>".encode()

    def _on_upload(
        self, key: str, query: dict[str, str], body: bytes
    ) -> tuple[dict[str, str], bytes]:
        upload = self.s3.uploads.get(query["uploadId"])
        if upload is None or upload.key != key:
            raise _Refused(404, "NoSuchUpload")
        if self.command == "PUT":
            self._check_digest(body)
            upload.parts[int(query["partNumber"])] = body
            return {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, b""
        if self.command == "GET":
            return {}, self._listed(upload, int(query.get("part-number-marker", 0)))
        if self.command == "DELETE":
            del self.s3.uploads[query["uploadId"]]
            return {}, b""
        return self._complete(upload, query["uploadId"], body)

    def _listed(self, upload: StoredUpload, marker: int) -> bytes:
        """Two parts a page, so that paging is tested."""
        numbers = sorted(number for number in upload.parts if number > marker)
        page = "".join(
            f"<Part><PartNumber>{number}</PartNumber><Size>{len(upload.parts[number])}</Size>"
            f"<ETag>&quot;{hashlib.md5(upload.parts[number]).hexdigest()}&quot;</ETag>"
            f"<ChecksumSHA256>{sha256(upload.parts[number])}</ChecksumSHA256></Part>"
            for number in numbers[:2]
        )
        following = (
            f"<NextPartNumberMarker>{numbers[:2][-1]}</NextPartNumberMarker>" if page else ""
        )
        truncated = str(len(numbers) > 2).lower()
        return f"<R><IsTruncated>{truncated}</IsTruncated>{following}{page}</R>".encode()

    def _complete(
        self, upload: StoredUpload, upload_id: str, body: bytes
    ) -> tuple[dict[str, str], bytes]:
        self._check_absent(upload.key)
        contents = [upload.parts[number] for number in sorted(upload.parts)]
        asked = body.decode()
        if any(sha256(each) not in asked for each in contents):
            raise _Refused(400, "InvalidPart")
        if any(len(each) < MIN_PART for each in contents[:-1]):
            raise _Refused(400, "EntityTooSmall")
        content = b"".join(contents)
        if int(self.headers["x-amz-mp-object-size"]) != len(content):
            raise _Refused(400, "InvalidRequest")
        digests = b"".join(hashlib.sha256(each).digest() for each in contents)
        del self.s3.uploads[upload_id]
        version = self._store(upload.key, content, f"{sha256(digests)}-{len(contents)}")
        checksum = self.s3.objects[upload.key].checksum
        return version, f"<R><ChecksumSHA256>{checksum}</ChecksumSHA256></R>".encode()

    def _on_object(self, key: str, body: bytes) -> tuple[dict[str, str], bytes]:
        if self.command == "PUT":
            self._check_digest(body)
            self._check_absent(key)
            return self._store(key, body, sha256(body)), b""
        if (found := self.s3.objects.get(key)) is None:
            raise _Refused(404, "NoSuchKey")
        headers = {
            "x-amz-version-id": found.version,
            "x-amz-checksum-sha256": found.checksum,
            "Content-Length": str(len(found.content)),
        }
        return headers, found.content

    def _store(self, key: str, content: bytes, checksum: str) -> dict[str, str]:
        version = f"version-{next(self.s3.numbers)}"
        self.s3.objects[key] = StoredVersion(content, checksum, version)
        self.s3.writes += 1
        return {"x-amz-version-id": version}

    def _check_digest(self, body: bytes) -> None:
        if self.headers["x-amz-checksum-sha256"] != sha256(body):
            raise _Refused(400, "BadDigest")

    def _check_absent(self, key: str) -> None:
        if self.headers["If-None-Match"] == "*" and key in self.s3.objects:
            raise _Refused(412, "PreconditionFailed")

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Print nothing: killed copiers close connections early."""


@contextmanager
def s3() -> Iterator[S3Server]:
    """Serve a bucket named `copies` on loopback."""
    state = S3Server()
    handler = type("OneBucket", (_Handler,), {"s3": state})
    with _Server(("127.0.0.1", 0), handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
