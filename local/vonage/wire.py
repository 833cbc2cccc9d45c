"""Responses that are sent unchanged, even if they are invalid HTTP."""

import socket
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import Any, Self

from flask import Response

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""The value of SO_LINGER that makes the closing of a socket reset the connection."""

_BLOCK = b" " * 65_536


@dataclass(frozen=True, slots=True)
class Body:
    """A body in parts; `length` is None if it is not known in advance."""

    parts: Iterable[bytes]
    length: int | None

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Return a body with this content."""
        return cls([content], len(content))

    def compressed(self) -> "Body":
        """Return the body in gzip form, whose length is not known in advance."""
        return Body(_gzip(self.parts), None)


@dataclass(frozen=True, slots=True)
class Transfer:
    """How a body is sent."""

    declared: int | None = None
    """The Content-Length, which may differ from the body's; None for chunks."""
    sent: int | None = None
    """Close the connection after this many bytes, without ending the response properly."""
    resets: bool = False
    """Reset the connection where `sent` ends it, instead of closing it."""
    endless: bool = False
    """Send white space after the body as long as the client reads."""
    delay: float = 0.0
    """Seconds after each byte."""
    rate: int | None = None
    """The most bytes per second."""


class WireResponse(Response):
    """A response whose headers and body are sent unchanged. werkzeug would correct some of them.

    `stopping` is set when the emulator shuts down, which ends the response.
    Source: werkzeug's Response.get_wsgi_response drops the body and length of a 204.
    """

    def __init__(
        self, body: Body, status: int, headers: dict[str, str], transfer: Transfer, stopping: Event
    ) -> None:
        super().__init__(status=status, headers=headers)
        self.headers.remove("Content-Length")
        if transfer.declared is not None:
            self.headers["Content-Length"] = str(transfer.declared)
        self._body = body
        self._transfer = transfer
        self._stopping = stopping

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterator[bytes]:
        """Send the response (WSGI)."""
        start_response(self.status, list(self.headers))
        return self._parts(environ)

    def _parts(self, environ: dict[str, Any]) -> Iterator[bytes]:
        yield b""  # sends the headers, even if no body follows
        sent = self._transfer.sent
        for part in self._all() if sent is None else _first(self._all(), sent):
            yield from self._slowly(part)
        if sent is not None:
            if self._transfer.resets:
                reset_on_close(environ)
            raise ConnectionAbortedError("The response ends here, as the fault demands")

    def _all(self) -> Iterator[bytes]:
        yield from self._body.parts
        while self._transfer.endless and not self._stopping.is_set():
            yield _BLOCK

    def _slowly(self, part: bytes) -> Iterator[bytes]:
        """Yield `part`, in pieces with delays between them if the transfer is slow."""
        size, delay = self._piece_and_delay()
        if not delay:
            yield part
            return
        for start in range(0, len(part), size):
            if self._stopping.wait(delay):
                return
            yield part[start : start + size]

    def _piece_and_delay(self) -> tuple[int, float]:
        """Return the size of a piece in bytes and the delay before it in seconds."""
        if self._transfer.delay or self._transfer.rate is None:
            return 1, self._transfer.delay
        size = max(1, self._transfer.rate // 20)
        return size, size / self._transfer.rate


def reset_on_close(environ: dict[str, Any]) -> None:
    """Make the closing of a request's connection reset it."""
    environ["werkzeug.socket"].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


def _first(parts: Iterable[bytes], length: int) -> Iterator[bytes]:
    """Yield the first `length` bytes."""
    for part in parts:
        if length <= 0:
            return
        yield part[:length]
        length -= len(part)


def _gzip(parts: Iterable[bytes]) -> Iterator[bytes]:
    compressor = zlib.compressobj(1, wbits=31)
    for part in parts:
        yield compressor.compress(part)
    yield compressor.flush()
