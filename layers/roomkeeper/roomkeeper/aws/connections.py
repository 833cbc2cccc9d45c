"""Connections to one host, kept open from call to call."""

import io
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct


class Answer(Struct, frozen=True):
    """What a host answered."""

    status: int
    body: bytes


class Unreachable(Exception):
    """No whole answer came; whether the request arrived is not known."""


class Connections:
    """Connections to the host of `url`. Safe to use from many threads.

    A try may take `seconds` in all: for the connection, the handshake and the whole answer.
    """

    def __init__(self, url: str, *, seconds: float) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        self._is_secure = parts.scheme == "https"
        self._address = (parts.hostname or "", parts.port or (443 if self._is_secure else 80))
        self._seconds = seconds
        self._idle: deque[_Line] = deque()

    def post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a request to the host's root; return its answer.

        Raises:
            Unreachable: the message says what went wrong.
        """
        until = time.monotonic() + self._seconds
        try:
            line = self._ready(until)
            try:
                whole = self._ask(line, headers, body)
            except BaseException:
                line.hang_up()
                raise
        except (OSError, HTTPException) as problem:
            self._close_idle()  # they may be as dead as this one, after a pause of the function
            raise Unreachable(f"{type(problem).__name__}: {problem}") from problem
        if line.is_kept:
            self._idle.append(line)
        else:
            line.hang_up()
        return whole

    def _ask(self, line: "_Line", headers: Mapping[str, str], body: bytes) -> Answer:
        connection: Any = HTTPConnection(self.host)  # it knows HTTP; the line is ours to watch
        connection.sock = line
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read())

    def _ready(self, until: float) -> "_Line":
        with suppress(IndexError):
            while True:
                line = self._idle.pop()
                if not line.is_dropped:
                    line.until = until
                    return line
                line.hang_up()
        sock = _connected(self._address, until)
        return _Line(_secured(sock, self._address[0], until) if self._is_secure else sock, until)

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().hang_up()


class _Line:
    """A socket, as http.client uses one, on which every step ends by `until`.

    That is a time by the monotonic clock. A socket's own timeout holds for each part of an answer,
    so that one which drips in could take for ever.
    """

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self.until = until
        self.is_kept = True

    @property
    def is_dropped(self) -> bool:
        """Whether the host has closed it, while it owes no answer."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self._sock.settimeout(_left(self.until))
        self._sock.sendall(data)

    def receive_into(self, buffer: Any) -> int:
        """Read what there is, once there is something; return how many bytes."""
        self._sock.settimeout(_left(self.until))
        return self._sock.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what is received, as a file; it holds no more than one answer."""
        return io.BufferedReader(_Received(self))

    def close(self) -> None:
        """Note that it is not to be kept; http.client says so before it reads the answer."""
        self.is_kept = False

    def hang_up(self) -> None:
        """Close it."""
        self._sock.close()


class _Received(io.RawIOBase):
    def __init__(self, line: _Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._line.receive_into(buffer)


@cache
def _tls() -> ssl.SSLContext:
    """Return Python's default: it checks certificates and host names. It is costly to make."""
    return ssl.create_default_context()


def _connected(address: tuple[str, int], until: float) -> socket.socket:
    """Return a connection to the first address of a host that takes one."""
    problem: OSError | None = None
    for family, kind, protocol, _, where in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(until))
            sock.connect(where)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as failed:
            sock.close()
            problem = failed
        else:
            return sock
    raise problem or OSError(f"{address[0]} has no address")


def _secured(sock: socket.socket, host: str, until: float) -> socket.socket:
    try:
        sock.settimeout(_left(until))  # which the handshake takes as its own in all
        return _tls().wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("time was up before the whole answer was there")
    return left
