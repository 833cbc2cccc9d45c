"""Responses that are sent unchanged, even if they are invalid HTTP."""

from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

from flask import Response

_BLOCK = b" " * 65_536


class WireResponse(Response):
    """A response whose headers and body are sent unchanged. werkzeug would correct some of them.

    Source: werkzeug's Response.get_wsgi_response drops the body and length of a 204.

    Args:
        declared: the Content-Length, which may differ from the body's; None for chunks.
        cut_off: close the connection after the body, without ending the response properly.
        endless: send white space after the body as long as the client reads.
        pause: seconds after each byte.
        stopping: set when the emulator shuts down, which ends the response.
    """

    def __init__(  # noqa: PLR0913 - one for each way to be wrong
        self,
        body: bytes,
        status: int,
        headers: dict[str, str],
        *,
        declared: int | None,
        cut_off: bool,
        endless: bool,
        pause: float,
        stopping: Event,
    ) -> None:
        super().__init__(status=status, headers=headers)
        self.headers.remove("Content-Length")
        if declared is not None:
            self.headers["Content-Length"] = str(declared)
        self._body = body
        self._cut_off = cut_off
        self._endless = endless
        self._pause = pause
        self._stopping = stopping

    def __call__(
        self, _environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterator[bytes]:
        """Send the response (WSGI)."""
        start_response(self.status, list(self.headers))
        return self._parts()

    def _parts(self) -> Iterator[bytes]:
        yield b""  # sends the headers, even if no body follows
        yield from self._slowly(self._body)
        while self._endless and not self._stopping.is_set():
            yield from self._slowly(_BLOCK)
        if self._cut_off:
            raise ConnectionAbortedError("The response ends here, as the fault demands")

    def _slowly(self, body: bytes) -> Iterator[bytes]:
        if not self._pause:
            yield body
            return
        for place in range(len(body)):
            if self._stopping.wait(self._pause):
                return
            yield body[place : place + 1]
