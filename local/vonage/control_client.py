"""The calls of a Python client to the control interface."""

from collections.abc import Collection, Mapping
from typing import Any

import requests

CONNECT_TIMEOUT = 5.0
"""Seconds. The response has no timeout, because it waits for the callbacks' receiver."""


class ControlError(Exception):
    """The emulator rejected a call; the message contains its response."""


class ControlClient:
    """A client of the control interface. `base` is the URL that the emulator printed."""

    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/")

    def _get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self._call("GET", path)
        return found

    def _list(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call("GET", path)
        return found

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        outcome: dict[str, Any] = self._call("POST", path, dict(body))
        return outcome

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        url = f"{self.base}/control{path}"
        with requests.Session() as session:
            session.trust_env = False  # the emulator is on this machine: use no proxy
            response = session.request(method, url, json=body, timeout=(CONNECT_TIMEOUT, None))
        if not response.ok:
            raise ControlError(f"{method} {path}: {response.status_code} {response.text}")
        return response.json() if response.content else {}


def json_compatible(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with collections as lists, because JSON has no sets."""
    return {
        name: list(value)
        if isinstance(value, Collection) and not isinstance(value, str | Mapping)
        else value
        for name, value in options.items()
    }
