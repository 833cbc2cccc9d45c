"""Maps the status and error body of a response to an exception."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from roomkeeper.vonage import errors
from roomkeeper.vonage.calls import Call
from roomkeeper.vonage.errors import RequestContext, VonageError
from roomkeeper.vonage.retry import parse_retry_after

MAX_MESSAGE_LENGTH = 300

_URL = re.compile(r"https?://[^\s\"'<>]*", re.IGNORECASE)
"""A URL with its query. A pattern that required a `?` would take quadratic time without one."""

_CREDENTIALS = re.compile(r"\b(basic|bearer)\s+[^\s\"',;]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Response:
    """A response; `headers` are case-insensitive, `body` has no byte order mark."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """An error body. Without name and message, it is not from Vonage.

    `name` is the error's name or number in the product's own format. `proves_absence` is True if no
    other service uses the format, so that a NotFound is certain.
    """

    name: str | None = None
    message: str | None = None
    proves_absence: bool = False

    @property
    def is_vonages(self) -> bool:
        """True if it is in one of Vonage's formats."""
        return bool(self.name or self.message)


ReadError = Callable[[bytes], ErrorBody]
"""Reads an error body in the formats of a product."""


def raise_for_status(call: Call, response: Response, now: datetime, read_error: ReadError) -> bytes:
    """Return the body of a 2xx response. `read_error` reads any other body.

    Raises:
        VonageError: any other status, by its subclass. A 4xx status other than 401 and 429 raises
            InvalidResponse unless the body is in one of the product's error formats.
    """
    if 200 <= response.status < 300:
        return response.body
    error = read_error(response.body)
    # The Video API's code is often the status again.
    described = f" {error.name}" if error.name not in (None, str(response.status)) else ""
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
    raise error_type(f"Vonage returned {response.status}{described}", context)


def meetings_error(body: bytes) -> ErrorBody:
    """Read the Meetings API's format (name, message) or the gateway's (title, detail)."""
    texts = _texts(_fields(body))
    gateway = ": ".join(texts[key] for key in ("title", "detail") if key in texts)
    name = redact(texts.get("name", "")) or None
    message = redact(texts.get("message") or gateway) or None
    return ErrorBody(name, message, proves_absence=name == "NotFoundError")


def video_error(body: bytes) -> ErrorBody:
    """Read the Video API's format: a number `code`, and `message`, `description` or both.

    Some of its errors have only a message, like the errors of other services. Such an error does
    not prove that the item does not exist.
    """
    fields = _fields(body)
    texts = _texts(fields)
    gateway = ": ".join(texts[key] for key in ("title", "detail") if key in texts)
    message = redact(texts.get("message") or texts.get("description") or gateway) or None
    code = fields.get("code")
    is_own = isinstance(code, int) and not isinstance(code, bool) and message is not None
    return ErrorBody(str(code) if is_own else None, message, proves_absence=is_own)


def _error_type(call: Call, status: int, error: ErrorBody) -> type[VonageError]:
    if status >= 500:
        return errors.Unavailable
    if status == 429:
        return errors.RateLimited
    if status == 401:
        return errors.Unauthorized
    return _refusal_type(call, status, error) if status >= 400 else errors.InvalidResponse


def _refusal_type(call: Call, status: int, error: ErrorBody) -> type[VonageError]:
    if not error.is_vonages:
        return errors.InvalidResponse
    refusals = {**_REFUSALS, **call.refusals}
    kind = refusals.get((status, error.name)) or refusals.get((status, None), errors.BadRequest)
    is_doubtful = issubclass(kind, errors.NotFound) and not error.proves_absence
    return errors.InvalidResponse if is_doubtful else kind


_REFUSALS: Mapping[tuple[int, str | None], type[VonageError]] = {
    (403, None): errors.Forbidden,
    (404, None): errors.NotFound,
}


def _fields(body: bytes) -> dict[str, Any]:
    """Return the fields of a JSON object; none for any other body."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _texts(fields: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for key, value in fields.items() if isinstance(value, str) and value}


def redact(text: str) -> str:
    """Return `text` on one line of limited length, without URL queries and credentials."""
    text = _URL.sub(_without_query, text)
    text = _CREDENTIALS.sub(r"\1 ...", text)
    line = " ".join(text.split())
    return line if len(line) <= MAX_MESSAGE_LENGTH else f"{line[:MAX_MESSAGE_LENGTH]}..."


def _without_query(url: re.Match[str]) -> str:
    address, mark, _query = url[0].partition("?")
    return f"{address}?..." if mark else address
