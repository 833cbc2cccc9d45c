"""docs/openapi.yaml as Python data, for the tests that compare it with code and template."""

from functools import cache
from pathlib import Path
from typing import Any

import requests
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parent.parent.parent
METHODS = {"get", "put", "post", "patch", "delete"}


@cache
def description() -> dict[str, Any]:
    """Return the whole description with its references resolved."""
    whole: dict[str, Any] = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())
    resolved: dict[str, Any] = _resolved(whole, whole)
    return resolved


def _resolved(part: Any, whole: dict[str, Any]) -> Any:
    if isinstance(part, list):
        return [_resolved(each, whole) for each in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        target: Any = whole
        for name in part["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        return _resolved(target, whole)
    return {name: _resolved(value, whole) for name, value in part.items()}


def operations() -> dict[str, dict[str, Any]]:
    """Return the operations by route key, such as `GET /rooms`."""
    return {
        f"{method.upper()} {path}": operation
        for path, item in description()["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def require_described(route: str, response: requests.Response) -> None:
    """Fail unless the description has this response for the route."""
    described = operations()[route]["responses"]
    assert str(response.status_code) in described, (route, response.status_code, response.text)
    content = described[str(response.status_code)].get("content")
    if content is None:
        assert response.text == ""
        return
    validate(content["application/json"]["schema"], response.json())


def validate(schema: dict[str, Any], value: object) -> None:
    """Fail unless `value` is valid for `schema`."""
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)
