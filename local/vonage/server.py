"""The emulator's server: its web application, sockets and threads."""

import re
import socket
import ssl
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
from local.vonage.api import PREFIXES, MeetingsApi
from local.vonage.control_api import ControlApi
from local.vonage.download_api import DownloadApi
from local.vonage.faults import RESET
from local.vonage.guide import guide
from local.vonage.https import self_signed
from local.vonage.refusal import Refusal
from local.vonage.responses import http_error_response, refusal_response
from local.vonage.sender import Sender, Watch
from local.vonage.serving import note
from local.vonage.state import State
from local.vonage.video.api import VideoApi
from local.vonage.wire import RESET_ON_CLOSE, reset_on_close

MAX_BODY = 1024 * 1024  # bytes
_SLASH = "\ue000"
"""A private-use character that replaces an encoded slash until the path is split."""

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@contextmanager
def served(port: int, host: str, public_key: str | None) -> Iterator[str]:
    """Serve the emulator in threads while the context lasts; yield its base URL.

    Port 0 means any free port.

    Raises:
        OSError: the address is not available.
        ValueError: `public_key` is not an RSA key in PEM.
    """
    key = rsa_public_key(public_key) if public_key is not None else None
    with (
        ExitStack() as servers,
        socket.create_server((host, port), backlog=128, family=_family(host)) as listener,
    ):
        state = State(_base(host, listener.getsockname()[1]))
        sender = Sender(state)
        watch = Watch(state, sender)
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
    """The emulator's https address with a self-signed certificate, opened on first use."""

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
    watch: Watch,
    public_key: RSAPublicKey | None,
    https_base: Callable[[], str],
) -> Flask:
    """Return the web application: the API under both paths, downloads and control interface.

    `https_base` opens the https address and returns its base URL.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.converters["id"] = _Id
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    api = MeetingsApi(state, public_key)
    for prefix in PREFIXES:
        app.register_blueprint(api.blueprint(prefix))
    app.register_blueprint(VideoApi(state).blueprint())
    app.register_blueprint(DownloadApi(state).blueprint())
    app.register_blueprint(ControlApi(state, sender, watch, https_base).blueprint())
    app.add_url_rule("/", "guide", lambda: _guide(state))
    app.register_error_handler(Refusal, refusal_response)
    app.register_error_handler(HTTPException, http_error_response)
    app.after_request(lambda response: note(state, response))
    return app


def _guide(state: State) -> Response:
    return Response(guide(state.base, state.video.credentials.api_secret), mimetype="text/plain")


class _Id(BaseConverter):
    """An id in a path, which may contain encoded slashes."""

    def to_python(self, value: str) -> str:
        return value.replace(_SLASH, "/")


class _Handler(WSGIRequestHandler):
    """A request handler that logs nothing."""

    disable_nagle_algorithm = True
    timeout = 60  # seconds without data before the connection is closed
    error_content_type = "application/json"
    error_message_format = '{"title": "HTTP error %(code)d", "detail": "Not an HTTP request"}'

    def parse_request(self) -> bool:
        """Return whether there is a valid request; absolute URLs in requests are rejected."""
        parsed = super().parse_request()
        if parsed and not self.path.startswith("/"):
            self.send_error(400)
            return False
        return parsed

    def make_environ(self) -> dict[str, Any]:
        """Return the WSGI environment, with encoded slashes replaced by `_SLASH`."""
        environ = super().make_environ()
        path = re.sub("%2f", quote(_SLASH), re.split(r"[?#]", self.path)[0], flags=re.IGNORECASE)
        environ["PATH_INFO"] = unquote(path).encode().decode("latin1")
        return environ

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:  # noqa: ARG002
        """Close the connection, which would otherwise be kept alive."""
        self.close_connection = True

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Log nothing about invalid requests."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing about requests."""


class _Server(ThreadedWSGIServer):
    """A threaded server on a bound socket that can reset connections."""

    def __init__(
        self,
        host: str,
        app: Flask,
        listener: socket.socket,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(host, 0, _resetting(app), _Handler, ssl_context=tls, fd=listener.fileno())

    def shutdown_request(self, request: Any) -> None:
        """Close a connection. A reset needs SO_LINGER and no prior shutdown."""
        linger = request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(RESET_ON_CLOSE))
        if linger == RESET_ON_CLOSE:
            self.close_request(request)
        else:
            super().shutdown_request(request)


def _resetting(app: Flask) -> WsgiApp:
    """Return `app` wrapped so that it resets the connection of requests marked with RESET."""

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        response = app(environ, start_response)
        if RESET in environ:
            reset_on_close(environ)
            raise ConnectionResetError("A fault was switched on")
        return response

    return serve


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _base(host: str, port: int, scheme: str = "http") -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared only
    address = f"[{reachable}]" if ":" in reachable else reachable
    return f"{scheme}://{address}:{port}"
