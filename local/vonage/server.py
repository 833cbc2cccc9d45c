"""The emulator as a server: its web application, its socket, its threads."""

import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import quote, unquote

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from flask import Flask, Response
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from local.vonage.access import rsa_public_key
from local.vonage.api import PREFIXES, MeetingsApi, answer_http_error, answer_refusal, note
from local.vonage.control_api import ControlApi
from local.vonage.faults import RESET
from local.vonage.guide import guide
from local.vonage.https import self_signed
from local.vonage.refusal import Refusal
from local.vonage.sender import ExpiryWatch, Sender
from local.vonage.state import State

LARGEST_BODY = 1024 * 1024
_SLASH = "\ue000"
"""Stands for an encoded slash until the path is divided: a character for private use."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@contextmanager
def served(port: int, host: str, public_key: str | None) -> Iterator[str]:
    """Serve the emulator in threads of its own while the context lasts; give its base URL.

    Port 0 takes a free one.

    Raises:
        OSError: the address cannot be had.
        ValueError: `public_key` is no RSA key in PEM.
    """
    key = rsa_public_key(public_key) if public_key is not None else None
    with (
        ExitStack() as servers,
        socket.create_server((host, port), backlog=128, family=_family(host)) as listener,
    ):
        state = State(_base(host, listener.getsockname()[1]))
        sender = Sender(state)
        watch = ExpiryWatch(state, sender)
        https = _Https(host, servers)
        app = application(state, sender, watch, key, lambda: https.base(app))
        servers.enter_context(_serving(_Server(host, app, listener)))
        watch.start()
        try:
            yield state.base
        finally:
            state.stop()
            servers.close()
            watch.join()
            sender.close()


@contextmanager
def _serving(server: "_Server") -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="vonage-server")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Https:
    """A second address of the emulator, with a self-signed certificate, opened when asked for."""

    def __init__(self, host: str, servers: ExitStack) -> None:
        self._host = host
        self._servers = servers
        self._lock = threading.Lock()
        self._base: str | None = None

    def base(self, app: Flask) -> str:
        """Return the base URL at which `app` is served."""
        with self._lock:
            if self._base is None:
                self._base = self._open(app)
            return self._base

    def _open(self, app: Flask) -> str:
        listener = socket.create_server((self._host, 0), family=_family(self._host))
        self._servers.enter_context(listener)
        self._servers.enter_context(_serving(_Server(self._host, app, listener, self_signed())))
        return _base(self._host, listener.getsockname()[1], "https")


def application(
    state: State,
    sender: Sender,
    watch: ExpiryWatch,
    public_key: RSAPublicKey | None,
    https_base: Callable[[], str],
) -> Flask:
    """Return the web application: the API under both paths, the downloads, the controls.

    `https_base` opens the https address and returns its base URL.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.url_map.converters["id"] = _Id
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    api = MeetingsApi(state, public_key)
    for prefix in PREFIXES:
        app.register_blueprint(api.blueprint(prefix))
    app.register_blueprint(api.downloads())
    app.register_blueprint(ControlApi(state, sender, watch, https_base).blueprint())
    app.add_url_rule("/", "guide", lambda: Response(guide(state.base), mimetype="text/plain"))
    app.register_error_handler(Refusal, answer_refusal)
    app.register_error_handler(HTTPException, answer_http_error)
    app.after_request(lambda response: note(state, response))
    return app


class _Id(BaseConverter):
    """An id in a path, which may have slashes in it if they came encoded."""

    def to_python(self, value: str) -> str:
        return value.replace(_SLASH, "/")


class _Handler(WSGIRequestHandler):
    """Serves without a word about each request."""

    disable_nagle_algorithm = True
    timeout = 60  # seconds; a client that stops in the middle of a request is let go
    error_content_type = "application/json"
    error_message_format = '{"title": "HTTP error %(code)d", "detail": "This is no HTTP request"}'

    def parse_request(self) -> bool:
        """Return whether there is a request to be served: for a path, not for a whole URL."""
        parsed = super().parse_request()
        if parsed and not self.path.startswith("/"):
            self.send_error(400)
            return False
        return parsed

    def make_environ(self) -> dict[str, Any]:
        """Return the WSGI environment, in which an encoded slash does not divide the path."""
        environ = super().make_environ()
        path = re.sub("%2f", quote(_SLASH), re.split(r"[?#]", self.path)[0], flags=re.IGNORECASE)
        environ["PATH_INFO"] = unquote(path).encode().decode("latin1")
        return environ

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:  # noqa: ARG002
        """Close the connection, which otherwise would be kept for a next request."""
        self.close_connection = True

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep quiet about what is no request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Keep quiet about requests."""


class _Server(ThreadedWSGIServer):
    """A threaded server on a socket that is bound already, which can break connections off."""

    def __init__(
        self,
        host: str,
        app: Flask,
        listener: socket.socket,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(host, 0, _resetting(app), _Handler, ssl_context=tls, fd=listener.fileno())

    def shutdown_request(self, request: Any) -> None:
        """Close a connection; one that is to be reset without the farewell of a shutdown."""
        linger = request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET_ON_CLOSE))
        if linger == _RESET_ON_CLOSE:
            self.close_request(request)
        else:
            super().shutdown_request(request)


def _resetting(app: Flask) -> WsgiApp:
    """Return `app` made to reset the connection of requests that are marked so."""

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = app(environ, start_response)
        if RESET in environ:
            connection = environ["werkzeug.socket"]
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            raise ConnectionResetError("A fault was switched on")
        return answer

    return serve


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _base(host: str, port: int, scheme: str = "http") -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared only
    address = f"[{reachable}]" if ":" in reachable else reachable
    return f"{scheme}://{address}:{port}"
