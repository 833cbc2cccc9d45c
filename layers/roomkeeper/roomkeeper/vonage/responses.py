"""Maps the status and error body of a response to an exception."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from roomkeeper.vonage import errors
from roomkeeper.vonage.calls import Call
from roomkeeper.vonage.errors import RequestContext, VonageError
from roomkeeper.vonage.retry import parse_retry_after

MAX_MESSAGE_LENGTH = 300

_URL_QUERY = re.compile(r"(https?://[^\s?\"'<>]*)\?[^\s\"'<>]*", re.IGNORECASE)
_CREDENTIALS = re.compile(r"\b(basic|bearer)\s+[^\s\"',;]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Response:
    """A response; `headers` are case-insensitive, `body` has no byte order mark."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _ErrorBody:
    """An error body; `name` is in the service's format only. Both None: it is not Vonage's."""

    name: str | None = None
    message: str | None = None

    @property
    def is_vonages(self) -> bool:
        return bool(self.name or self.message)


def raise_for_status(call: Call, response: Response, now: datetime) -> bytes:
    """Return the body of a 2xx response.

    Raises:
        VonageError: any other status, by its subclass. 4xx statuses other than 401 and 429 count
            only in one of Vonage's two error formats.
    """
    if 200 <= response.status < 300:
        return response.body
    error = _error_body(response.body)
    described = f" {error.name}" if error.name else ""
    described += f" ({error.message})" if error.message else ""
    context = RequestContext(
        call.method,
        call.path,
        response.status,
        error.name,
        error.message,
        parse_retry_after(response.headers.get("Retry-After"), now),
    )
    error_type = _error_type(call, response.status, error)
    raise error_type(f"Vonage answered {response.status}{described}", context)


def _error_type(call: Call, status: int, error: _ErrorBody) -> type[VonageError]:
    if status >= 500:
        return errors.Unavailable
    if status == 429:
        return errors.RateLimited
    if status == 401:
        return errors.Unauthorized
    return _refusal_type(call, status, error) if status >= 400 else errors.InvalidResponse


def _refusal_type(call: Call, status: int, error: _ErrorBody) -> type[VonageError]:
    if status == 404:
        return errors.NotFound if error.name == "NotFoundError" else errors.InvalidResponse
    if not error.is_vonages:
        return errors.InvalidResponse
    known = call.refusals.get((status, error.name)) or call.refusals.get((status, None))
    return known or (errors.Forbidden if status == 403 else errors.BadRequest)


def _error_body(body: bytes) -> _ErrorBody:
    """Return the body in the service's format (name, message) or the gateway's (title, detail)."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _ErrorBody()
    texts = {key: value for key, value in fields.items() if isinstance(value, str) and value}
    gateway = ": ".join(texts[key] for key in ("title", "detail") if key in texts)
    return _ErrorBody(texts.get("name"), redact(texts.get("message") or gateway) or None)


def redact(text: str) -> str:
    """Return `text` on one line of limited length, without URL queries and credentials."""
    text = _URL_QUERY.sub(r"\1?...", text)
    text = _CREDENTIALS.sub(r"\1 ...", text)
    line = " ".join(text.split())
    return line if len(line) <= MAX_MESSAGE_LENGTH else f"{line[:MAX_MESSAGE_LENGTH]}..."
