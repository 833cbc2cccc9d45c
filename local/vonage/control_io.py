"""Reads the requests of the control interface."""

from typing import Any, TypeVar

import msgspec
from flask import Response, request

from local.vonage.refusal import invalid
from local.vonage.responses import json_object

BodyT = TypeVar("BodyT")


def fields() -> dict[str, Any]:
    """Return the JSON object in the current request's body; an empty one without a body.

    Raises:
        Refusal: the body is not a JSON object.
    """
    return json_object(request) if request.get_data() else {}


def body(body_type: type[BodyT]) -> BodyT:
    """Return the current request's body as a `body_type`.

    Raises:
        Refusal: a field is unknown or invalid.
    """
    try:
        return msgspec.convert(fields(), body_type)
    except msgspec.ValidationError as exc:
        raise invalid(str(exc)) from exc


def done() -> Response:
    """Return the response of a call without a result."""
    return Response(status=204)
