"""Requests from and responses to an API Gateway HTTP API (payload format 2.0). Pure.

Source: "Create AWS Lambda proxy integrations for HTTP APIs" in the API Gateway guide.
"""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from roomkeeper.errors import RoomkeeperError

Request = Mapping[str, Any]
Response = dict[str, Any]


class InvalidRequest(RoomkeeperError):
    """The request breaks a rule; the message names the rule and the field."""


def with_route_path(request: Request) -> dict[str, Any]:
    """Return `request` with the path of the route that API Gateway chose, its parameters quoted.

    API Gateway passes the path unquoted. A router that matches it again would choose another route
    for an id with a slash or a line break.
    """
    path = str(request["routeKey"]).partition(" ")[2]
    for name, value in (request.get("pathParameters") or {}).items():
        path = path.replace(f"{{{name}}}", quote(value, safe="", errors="replace"))
    return {**request, "rawPath": path}


def body_of(request: Request) -> bytes:
    """Return the body of `request`; empty without one."""
    body: str = request.get("body") or ""
    if request.get("isBase64Encoded"):  # set by API Gateway unless the content type is textual
        return base64.b64decode(body)
    return body.encode(errors="surrogatepass")


def caller_of(request: Request) -> str | None:
    """Return the ARN of the caller who signed `request`; None if the request is unsigned.

    API Gateway may pass an empty ARN, which counts as unsigned.
    """
    authorizer = request["requestContext"].get("authorizer") or {}
    return (authorizer.get("iam") or {}).get("userArn") or None


def forbidden_unless_signed(request: Request) -> Response | None:
    """Return a 403 response if `request` is unsigned; None if it is signed.

    All routes but those for callbacks have an IAM authorizer, which rejects unsigned requests. This
    is defence in depth, should a route lose its authorizer by mistake. The body is API Gateway's.
    """
    return None if caller_of(request) else response(403, {"message": "Forbidden"})


def response(status: int, body: Any = None, **headers: str) -> Response:
    """Return a response with `body` as JSON; without a body if it is None."""
    if body is None:
        return {"statusCode": status} | ({"headers": headers} if headers else {})
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json"} | headers,
        "body": msgspec.json.encode(body).decode(),
    }


def error(status: int, code: str, message: str, **headers: str) -> Response:
    """Return an error response with the body that all errors share: {"error": {code, message}}."""
    return response(status, {"error": {"code": code, "message": message}}, **headers)
