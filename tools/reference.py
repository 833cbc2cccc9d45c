"""`make reference`: writes docs/reference.md from template.yaml and the event types."""

import inspect
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from operations.template import ROOT, Parameter, job_stacks, load, parameters, template
from roomkeeper.domain import events

PAGE = ROOT / "docs/reference.md"

_HEAD = """\
# Reference

All functions, routes, events, parameters and outputs. `make reference` generates this page from
[template.yaml](../template.yaml) and the event types in the code.
"""

Row = Sequence[str]


def page() -> str:
    """Return the whole page."""
    parts = [_HEAD, *_functions(), *_routes(), *_events(), *_parameters(), *_outputs()]
    return "\n".join(parts)


def main() -> int:
    """Write the page; return the exit code."""
    PAGE.write_text(page())
    return 0


def _functions() -> Iterator[str]:
    yield "## Functions\n"
    rows = [
        (_code(_folder(function)), function["Properties"]["Description"], _started_by(name))
        for name, function in _resources("AWS::Serverless::Function")
    ]
    yield _table(("function", "purpose", "trigger"), rows)


def _started_by(function: str) -> str:
    """Return a function's triggers; its routes are in their own table."""
    jobs = [each for each in _jobs() if each["Function"]["Ref"] == function]
    ways = [f"schedule {_code(each['ScheduleExpression']['Ref'])}" for each in jobs]
    events = template()["Resources"][function]["Properties"].get("Events", {}).values()
    ways += [_SOURCES[each["Type"]] for each in events]
    routed = jobs or any(_routed_to(route) == function for _, route in _resources(_ROUTE))
    return ", ".join([*ways, "the HTTP API"] if routed else ways)


_SOURCES = {"DynamoDB": "the table's stream", "SQS": "the queue of copies"}
_ROUTE = "AWS::ApiGatewayV2::Route"


def _jobs() -> list[dict[str, Any]]:
    """Return the parameters of each job's nested stack."""
    return [each["Properties"]["Parameters"] for each in job_stacks().values()]


def _routes() -> Iterator[str]:
    yield "## Routes\n"
    yield (
        "[openapi.yaml](openapi.yaml) describes parameters, bodies and responses. A signed request "
        "has an\nAWS signature (SigV4) for `execute-api`.\n"
    )
    rows = [
        (
            _code(route["Properties"]["RouteKey"]),
            _code(_folder(template()["Resources"][_routed_to(route)])),
            "signed requests" if "AuthorizationType" in route["Properties"] else "Vonage",
        )
        for _, route in _resources(_ROUTE)
    ]
    yield _table(("route", "function", "caller"), [*rows, *_job_routes()])


def _job_routes() -> Iterator[Row]:
    nested = load(ROOT / "operations/job.yaml")["Resources"]
    key: str = nested["Route"]["Properties"]["RouteKey"]["Sub"]
    for job in _jobs():
        function = template()["Resources"][job["Function"]["Ref"]]
        yield (
            _code(key.replace("${Name}", job["Name"])),
            _code(_folder(function)),
            "signed requests",
        )


def _routed_to(route: dict[str, Any]) -> str:
    integration = route["Properties"]["Target"]["Sub"].removeprefix("integrations/${").rstrip("}")
    return _target(template()["Resources"][integration]["Properties"]["IntegrationUri"])


def _events() -> Iterator[str]:
    yield "## Events\n"
    yield (
        f"`source` is `{events.SOURCE}`. The table lists the fields of `detail.data`; a question "
        "mark means that\nthe field can be absent. `detail.metadata` has "
        f"{_fields(events.Metadata)}.\n"
    )
    rows = [
        (f"[`{name}`](events/{name.replace(':', '-')}.json)", _first(data), _fields(data))
        for name, data in events.data_types.items()
    ]
    yield _table(("detail-type", "meaning", "data"), rows)


def _fields(struct: type[msgspec.Struct]) -> str:
    omits = struct.__struct_config__.omit_defaults
    fields = msgspec.structs.fields(struct)
    return ", ".join(_code(each.name) + "?" * (omits and not each.required) for each in fields)


def _parameters() -> Iterator[str]:
    yield "## Parameters\n"
    yield (
        "Set parameters with `make deploy PARAMETERS='Name=value ...'`, or permanently in an "
        "environment of\n[samconfig.toml](../samconfig.toml). A stack keeps a value until you set "
        "another one.\n"
    )
    groups = template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    for group in groups:
        yield f"### {group['Label']['default']}\n"
        rows = [
            (_code(name), _code(parameters()[name].default), _may_be(parameters()[name]))
            for name in group["Parameters"]
        ]
        yield _table(("parameter", "default", "description"), rows)


def _may_be(parameter: Parameter) -> str:
    least, most = parameter.limits
    if parameter.allowed:
        return f"{parameter.description} One of {', '.join(map(_code, parameter.allowed))}."
    if parameter.is_number:
        return f"{parameter.description} From {least} to {most}."
    return parameter.description


def _outputs() -> Iterator[str]:
    yield "## Outputs\n"
    declared = template()["Outputs"].items()
    rows = [(_code(name), f"{output['Description']}.") for name, output in declared]
    yield _table(("output", "description"), rows)


def _resources(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in template()["Resources"].items():
        if resource["Type"] == kind:
            yield name, resource


def _target(reference: dict[str, str]) -> str:
    return reference["GetAtt"].removesuffix(".Arn")


def _folder(function: dict[str, Any]) -> str:
    folder: str = function["Properties"]["CodeUri"]
    return folder.removeprefix("functions/")


def _first(struct: type[msgspec.Struct]) -> str:
    return " ".join((inspect.getdoc(struct) or "").split("\n\n")[0].split())


def _code(text: str) -> str:
    return f"`{text}`" if text else "none"


def _table(heads: Row, rows: Sequence[Row]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(each)} |\n" for each in lines)


if __name__ == "__main__":
    sys.exit(main())
