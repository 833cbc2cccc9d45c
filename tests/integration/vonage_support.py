"""Loopback servers with scripted responses, for the tests of the client and the emulator."""

import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from local.vonage import VonageControl
from roomkeeper.vonage import ApiKey, RetryPolicy

KEY = ApiKey("abcd1234", "a-secret-secret")
SHORT_DELAYS = RetryPolicy(base_delay=0.01, max_delay=0.05)
"""Retries with short delays."""


def statuses(emulator: VonageControl, operation: str) -> list[int | None]:
    """Return the emulator's status for each request of `operation`; None for a reset."""
    return [each["status"] for each in emulator.requests() if each["operation"] == operation]


@dataclass
class ReceivedRequest:
    """A request that a scripted server received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    """The number of the connection that carried it."""


@dataclass
class Script:
    """A server's URL, the requests that it received and the number of its connections."""

    url: str = ""
    received: list[ReceivedRequest] = field(default_factory=list)
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


Responder = Callable[[BaseHTTPRequestHandler, ReceivedRequest], None]


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    """Send a complete response that keeps the connection open."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def in_turn(statuses: Sequence[int]) -> Responder:
    """Return a function that responds with each of these statuses in turn, then with 204."""
    remaining = iter(statuses)
    return lambda handler, _request: reply(handler, next(remaining, 204))


@contextmanager
def scripted(respond: Responder, tls: ssl.SSLContext | None = None) -> Iterator[Script]:
    """Serve HTTP/1.1 with persistent connections; `respond` is called with each request."""
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        timeout = 60
        number = 0

        def setup(self) -> None:
            super().setup()
            with script.lock:
                script.connections += 1
                self.number = script.connections

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            received = ReceivedRequest(self.command, self.path, headers, body, self.number)
            with script.lock:
                script.received.append(received)
            respond(self, received)

        do_GET = do_POST = do_PATCH = do_DELETE = respond  # noqa: N815 - the base's names

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64  # with the default of 5, connections of many senders are dropped

        def handle_error(self, *_: object) -> None:
            """Print nothing: some tests close connections early."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        script.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
