"""Download URLs that look and expire like presigned S3 URLs. Pure.

Source: "Authenticating requests: using query parameters" in the Amazon S3 API reference, and the
URLs in the test data of Vonage's SDKs.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import quote, urlencode

from local.vonage.recordings import ACCOUNT

UrlForm = Literal["X-Amz", "Expires"]

_KEY = b"the emulator's own; it guards nothing"
_AMZ_TIME = "%Y%m%dT%H%M%SZ"


def signed_url(
    base: str,
    recording_id: str,
    now: datetime,
    lifetime: int,
    form: UrlForm,
    *,
    account: str = ACCOUNT,
    name: str = "archive.mp4",
) -> str:
    """Return a URL of 1.2 to 1.5 KB that serves the recording for `lifetime` seconds.

    `account` is the first part of its path, `name` the last.
    """
    path = f"/{account}/{quote(recording_id, safe='')}/{name}"
    token = hashlib.shake_256(recording_id.encode())
    if form == "X-Amz":
        query = _amz_query(now, lifetime, base64.b64encode(token.digest(600)).decode())
        signature = {"X-Amz-Signature": _signature(recording_id, query).hex()}
    else:
        query = _classic_query(now, lifetime, base64.b64encode(token.digest(700)).decode())
        signature = {"Signature": base64.b64encode(_signature(recording_id, query)[:20]).decode()}
    return f"{base}{path}?{urlencode(query | signature, quote_via=quote, safe='')}"


def refusal(recording_id: str, query: Mapping[str, str], now: datetime) -> tuple[str, str] | None:
    """Return S3's error code and message for a download with this `query`; None if it is valid."""
    unsigned = dict(query)
    given = unsigned.pop("X-Amz-Signature", None) or unsigned.pop("Signature", None)
    if given is None:
        return "AccessDenied", "Access Denied"
    signature = _signature(recording_id, unsigned)
    valid = {signature.hex(), base64.b64encode(signature[:20]).decode()}
    if given not in valid:
        return (
            "SignatureDoesNotMatch",
            "The request signature does not match the signature provided.",
        )
    return ("AccessDenied", "Request has expired") if now >= _expiry(unsigned) else None


def _amz_query(now: datetime, lifetime: int, token: str) -> dict[str, str]:
    return {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"ASIA5NAYMMB6JPDOLPNO/{now:%Y%m%d}/us-east-1/s3/aws4_request",
        "X-Amz-Date": now.strftime(_AMZ_TIME),
        "X-Amz-Expires": str(lifetime),
        "X-Amz-Security-Token": token,
        "X-Amz-SignedHeaders": "host",
        "response-content-disposition": f'attachment; filename="room_{now:%Y-%m-%d}.mp4"',
        "response-content-type": "video/mp4",
    }


def _classic_query(now: datetime, lifetime: int, token: str) -> dict[str, str]:
    return {
        "AWSAccessKeyId": "ASIA5NAYMMB6JPDOLPNO",
        "Expires": str(int(now.timestamp()) + lifetime),
        "response-content-disposition": f'attachment; filename="room_{now:%Y-%m-%d}.mp4"',
        "response-content-type": "video/mp4",
        "x-amz-security-token": token,
    }


def _signature(recording_id: str, query: Mapping[str, str]) -> bytes:
    signed = urlencode([("recording", recording_id), *sorted(query.items())])
    return hmac.digest(_KEY, signed.encode(), "sha256")


def _expiry(query: Mapping[str, str]) -> datetime:
    """Return the time at which a URL with a valid signature expires."""
    if "Expires" in query:
        return datetime.fromtimestamp(int(query["Expires"]), UTC)
    signed_at = datetime.strptime(query["X-Amz-Date"], _AMZ_TIME).replace(tzinfo=UTC)
    return signed_at + timedelta(seconds=int(query["X-Amz-Expires"]))
