"""What requests from an HTTP API and answers to them look like (payload format 2.0). Pure.

Source: "Create AWS Lambda proxy integrations for HTTP APIs" in the API Gateway guide.
"""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

Request = Mapping[str, Any]
Answer = dict[str, Any]


def with_route_path(request: Request) -> dict[str, Any]:
    """Return `request` under the path of the route that API Gateway chose, its ids quoted.

    For whoever chooses by the path once more: API Gateway hands it over unquoted, so that a slash
    or a line's end in an id would lead to something else.
    """
    path = str(request["routeKey"]).partition(" ")[2]
    for name, value in (request.get("pathParameters") or {}).items():
        path = path.replace(f"{{{name}}}", quote(value, safe="", errors="replace"))
    return {**request, "rawPath": path}


def body_of(request: Request) -> bytes:
    """Return the body of `request`; empty when it has none."""
    body: str = request.get("body") or ""
    if request.get("isBase64Encoded"):  # API Gateway does so unless the content type is textual
        return base64.b64decode(body)
    return body.encode(errors="surrogatepass")


def caller_of(request: Request) -> str | None:
    """Return the ARN of whoever signed `request`; None on a route that asks for no signature.

    API Gateway may hand over an empty ARN, which is no caller either.
    """
    authorizer = request["requestContext"].get("authorizer") or {}
    return (authorizer.get("iam") or {}).get("userArn") or None


def forbidden_unless_signed(request: Request) -> Answer | None:
    """Return the answer to a request that nobody signed; None when somebody did.

    Every route that is not for callbacks asks for a signature, so that none comes through. This is
    a second check, should a route lose its authorizer by mistake; the answer is API Gateway's own.
    """
    if caller_of(request):
        return None
    return {
        "statusCode": 403,
        "headers": {"Content-Type": "application/json"},
        "body": '{"message":"Forbidden"}',
    }


def error_body(code: str, message: str) -> str:
    """Return the one form that all our errors have: {"error": {"code", "message"}}."""
    return msgspec.json.encode({"error": {"code": code, "message": message}}).decode()
