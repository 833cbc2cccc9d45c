"""Emulators of the Vonage Meetings API and Video API. See local/README.md."""

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
    """Serve the emulator while the context lasts; yield a client that controls it.

    With a `public_key` (PEM), Bearer tokens are verified. `settings` are those of
    `VonageControl.settings`.

    Raises:
        OSError: the address is not available.
        ValueError: `public_key` is not an RSA key in PEM.
    """
    with served(port, host, public_key) as base:
        control = VonageControl(base)
        if settings:
            control.settings(**settings)
        yield control
