import re

import pytest
from jsonschema import Draft202012Validator

from local.testing.template import properties, resources
from roomkeeper import http_errors
from roomkeeper.handlers.management_api import app
from tests.support.openapi import description, operations

ROUTES = resources("AWS::ApiGatewayV2::Route")
OPEN = {
    *("POST /callbacks", "POST /callbacks/{token}"),
    *("POST /callbacks/video", "POST /callbacks/video/{token}"),
}
"""The routes whose callers are authenticated by the function, not by API Gateway."""

CATCH_ALL = "$default"


def key_of(route: str) -> str:
    key: str = ROUTES[route]["Properties"]["RouteKey"]
    return key


def test_every_deployed_route_is_described_and_nothing_else() -> None:
    assert {key_of(route) for route in ROUTES} - {CATCH_ALL} == set(operations())


def test_the_management_function_serves_just_the_routes_that_lead_to_it() -> None:
    served = {f"{route.method} {route.path}" for route in app._dynamic_routes + app._static_routes}
    leading = {
        key_of(name)
        for name, route in ROUTES.items()
        if "ManagementIntegration" in str(route["Properties"]["Target"])
    }
    assert {key.replace("<", "{").replace(">", "}") for key in served} == leading - {CATCH_ALL}


@pytest.mark.parametrize("route", ROUTES)
def test_only_callbacks_need_no_signature(route: str) -> None:
    asks_for = ROUTES[route]["Properties"].get("AuthorizationType", "NONE")
    assert asks_for == ("NONE" if key_of(route) in OPEN else "AWS_IAM")


@pytest.mark.parametrize("route", operations())
def test_a_route_is_described_with_its_security_and_its_parameters(route: str) -> None:
    _method, path = route.split(" ")
    item = description()["paths"][path]
    declared = {p["name"] for p in item.get("parameters", []) if p["in"] == "path"}
    assert declared == {part[1:-1] for part in path.split("/") if part.startswith("{")}
    signed = operations()[route].get("security", description()["security"])
    assert (signed == [{"signature": []}]) == (route not in OPEN)


@pytest.mark.parametrize("name", description()["components"]["schemas"])
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(description()["components"]["schemas"][name])


def test_a_response_is_sent_before_api_gateways_timeout() -> None:
    assert properties("ManagementApi")["Timeout"] < 30


@pytest.mark.parametrize("route", operations())
def test_an_unexpected_error_is_described(route: str) -> None:
    assert "500" in operations()[route]["responses"]


def test_every_error_code_is_described_with_its_status() -> None:
    described = {
        (int(status), code)
        for operation in operations().values()
        for status, response in operation["responses"].items()
        for code in re.findall("`([a-z_]+)`", response["description"])
    }
    assert not set(http_errors._ERRORS.values()) - described
