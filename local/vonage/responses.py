"""Responses of the emulated services, and their published error bodies."""

from typing import Any
from xml.sax.saxutils import escape

import msgspec
from flask import Request, Response
from werkzeug.exceptions import HTTPException

from local.vonage.refusal import Refusal, invalid

_S3_ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    "<Error><Code>{code}</Code><Message>{message}</Message></Error>"
)


def json_response(value: object, status: int = 200) -> Response:
    """Return `value` as a JSON response."""
    return Response(msgspec.json.encode(value), status, content_type="application/json")


def json_object(request: Request) -> dict[str, Any]:
    """Return the JSON object in a request's body.

    Raises:
        Refusal: the body is not a JSON object.
    """
    try:
        return msgspec.json.decode(request.get_data(), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise invalid(f"The body must be a JSON object: {exc}") from exc


def s3_error(status: int, code: str, message: str) -> Response:
    """Return an error in the form of Amazon S3, which serves the files."""
    xml = _S3_ERROR.format(code=escape(code), message=escape(message))
    return Response(xml, status, content_type="application/xml")


def gateway_error(status: int, title: str, detail: str) -> Response:
    """Return an error in the form of the gateway in front of the service."""
    return json_response({"title": title, "detail": detail}, status)


def refusal_response(refusal: Refusal) -> Response:
    """Return the service's response to a rejected request."""
    return json_response(refusal.as_json(), refusal.status)


def http_error_response(error: HTTPException) -> Response:
    """Return the gateway's response to a request that matches no operation."""
    response = gateway_error(error.code or 500, error.name, error.description or error.name)
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response
