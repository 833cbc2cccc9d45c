"""What an answer means. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from roomkeeper.vonage import errors
from roomkeeper.vonage.calls import Call
from roomkeeper.vonage.errors import Exchange, VonageError
from roomkeeper.vonage.retries import seconds_to_wait

LONGEST_MESSAGE = 300

_BY_STATUS: Mapping[int, type[VonageError]] = {
    401: errors.Unauthorized,
    403: errors.Unauthorized,
    404: errors.NotFound,
    429: errors.RateLimited,
}
_URL_QUERY = re.compile(r"(https?://[^\s?\"'<>]*)\?[^\s\"'<>]*", re.IGNORECASE)
_CREDENTIALS = re.compile(r"\b(basic|bearer)\s+[^\s\"',;]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names are looked up in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def require_success(call: Call, answer: Answer, now: datetime) -> bytes:
    """Return the body of a 2xx answer.

    Raises:
        VonageError: of the kind that any other status means.
    """
    if 200 <= answer.status < 300:
        return answer.body
    name, message = _explanation(answer.body)
    told = f" {name}" if name else ""
    told += f" ({message})" if message else ""
    problem = f"Vonage answered {answer.status}{told}"
    wait = seconds_to_wait(answer.headers.get("Retry-After"), now)
    exchange = Exchange(call.method, call.path, answer.status, name, message, wait)
    raise _kind(call, answer.status, name)(problem, exchange)


def _kind(call: Call, status: int, name: str | None) -> type[VonageError]:
    particular = call.refusals.get((status, name)) or call.refusals.get((status, None))
    if particular is not None and name is not None:  # else a firewall's, not Vonage's
        return particular
    if status < 400:
        return errors.UnexpectedAnswer
    return errors.Unavailable if status >= 500 else _BY_STATUS.get(status, errors.Refused)


def _explanation(body: bytes) -> tuple[str | None, str | None]:
    """Return the service's name for the error and what either published form says of it."""
    try:
        told = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, None
    texts = {key: value for key, value in told.items() if isinstance(value, str) and value}
    gateway = ": ".join(texts[key] for key in ("title", "detail") if key in texts)
    message = texts.get("message") or gateway
    return texts.get("name"), _harmless(message) or None


def _harmless(text: str) -> str:
    """Return `text` without what could be a credential, on one line and not too long."""
    text = _URL_QUERY.sub(r"\1?...", text)
    text = _CREDENTIALS.sub(r"\1 ...", text)
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]}..."
