"""Connections to one host, kept open from call to call."""

import select
import socket
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
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

    One try waits `connect` seconds for a connection and `read` for each part of the answer.
    """

    def __init__(self, url: str, *, connect: float, read: float) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        self._kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connect, self._read = connect, read
        self._idle: deque[HTTPConnection] = deque()

    def post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a request to the host's root; return its answer.

        Raises:
            Unreachable: the message says what went wrong.
        """
        try:
            connection = self._ready()
            try:
                connection.request("POST", "/", body, headers)
                answer = connection.getresponse()
                whole = Answer(answer.status, answer.read())
            except BaseException:
                connection.close()
                raise
        except (OSError, HTTPException) as problem:
            self._close_idle()  # they may be as dead as this one, after a pause of the function
            raise Unreachable(f"{type(problem).__name__}: {problem}") from problem
        self._idle.append(connection)
        return whole

    def _ready(self) -> HTTPConnection:
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if not _is_dropped(connection.sock):
                    return connection
                connection.close()
        connection = self._kind(self.host, timeout=self._connect)
        connection.connect()
        connection.sock.settimeout(self._read)
        return connection

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()


def _is_dropped(sock: socket.socket | None) -> bool:
    """Whether the host has closed a connection on which it owes no answer."""
    if sock is None:
        return True
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
