"""An emulator of the Vonage Meetings API, for one machine and for tests. See local/README.md."""

from collections.abc import Iterator
from contextlib import contextmanager

from local.vonage.control import VonageControl
from local.vonage.server import served

__all__ = ["VonageControl", "running"]


@contextmanager
def running(
    port: int = 0,
    *,
    host: str = "127.0.0.1",
    public_key: str | None = None,
    **settings: str | float,
) -> Iterator[VonageControl]:
    """Serve the emulator while the context lasts; give the client that steers it.

    `public_key` (PEM) has Bearer tokens verified; `settings` are those of `VonageControl.settings`.

    Raises:
        OSError: the address cannot be had.
        ValueError: `public_key` is no RSA key in PEM.
    """
    with served(port, host, public_key) as base:
        control = VonageControl(base)
        if settings:
            control.settings(**settings)
        yield control
