"""A time limit for a whole HTTP response, for connections of urllib3.

A socket's timeout applies to each read only, so a server that sends single bytes, or endless
interim responses, could keep a request for ever.
"""

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class TimeLimit:
    """Shuts the connection of a request down after `seconds`; its reader gets the end of data."""

    def __init__(self, seconds: float) -> None:
        self.ends_at = time.monotonic() + seconds
        self.is_over = False
        """True if the time has passed: what was read may be incomplete."""
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        _watcher.add(self)

    def apply_to(self, used: socket.socket | None) -> None:
        """Shut this socket down after the time, or now if it has passed."""
        with self._lock:
            self._socket = used
            if self.is_over:
                self._shut_down()

    def cancel(self) -> None:
        """Shut no socket down from now on."""
        _watcher.discard(self)
        with self._lock:
            self._socket = None  # another request may use the connection now

    def end(self) -> None:
        """Shut the socket down, as the time has passed."""
        with self._lock:
            self.is_over = True
            self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            shut_down(self._socket)


def shut_down(used: socket.socket) -> None:
    """Shut a socket down while another thread may read from it; its reader gets the end of data."""
    with suppress(OSError):  # it is closed already
        # Not SSLSocket.shutdown: it also ends the decryption, so that the reader would get the
        # ciphertext that has arrived as data.
        socket.socket.shutdown(used, socket.SHUT_RDWR)


class _Watcher:
    """Ends the limits whose time has passed, with one thread: a timer for each costs far more."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._limits: set[TimeLimit] = set()
        self._thread: threading.Thread | None = None
        self._wakes_at = math.inf

    def add(self, limit: TimeLimit) -> None:
        """End `limit` after its time."""
        with self._changed:
            self._limits.add(limit)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()
            elif limit.ends_at < self._wakes_at:
                self._changed.notify()

    def discard(self, limit: TimeLimit) -> None:
        """Do not end `limit` any more."""
        with self._changed:
            self._limits.discard(limit)

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for each in [limit for limit in self._limits if limit.ends_at <= now]:
                    self._limits.remove(each)
                    each.end()
                self._wakes_at = min((limit.ends_at for limit in self._limits), default=math.inf)
                self._changed.wait(None if self._wakes_at == math.inf else self._wakes_at - now)


_watcher = _Watcher()


_current: ContextVar[TimeLimit | None] = ContextVar("limit of the current request", default=None)


@contextmanager
def limited_to(seconds: float) -> Iterator[TimeLimit]:
    """End the request that this thread makes, and its response, after `seconds`; yield the limit.

    The request must use an adapter of this module.
    """
    limit = TimeLimit(seconds)
    token = _current.set(limit)
    try:
        yield limit
    finally:
        _current.reset(token)
        limit.cancel()


class LimitedAdapter(HTTPAdapter):
    """An adapter of requests whose connections obey `limited_to`."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Create the pools for connections without a proxy."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        """Return the pools for connections by a proxy."""
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _Limited(HTTPConnection):
    """Obeys the limit of the current request, from the connection to the end of the response."""

    def _new_conn(self) -> socket.socket:
        """Return a connected socket. All addresses of the host share the time for a connection.

        urllib3 has that time for each of them, and a name may have many.
        """
        if not isinstance(self.timeout, int | float):  # none is set
            return super()._new_conn()
        whole = self.timeout
        self.timeout = whole / _count_addresses(self.host, self.port)
        try:
            connected = super()._new_conn()
        finally:
            self.timeout = whole
        connected.settimeout(whole)
        return connected

    def getresponse(self) -> Any:
        if (limit := _current.get()) is not None:
            limit.apply_to(self.sock)
        return super().getresponse()


def _count_addresses(host: str, port: int | None) -> int:
    try:
        return len(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)) or 1
    except (OSError, UnicodeError):
        return 1  # the connection fails with the error


class _Connection(_Limited):
    pass


class _TlsConnection(_Limited, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}
