"""Writes schemas/template.yaml: every event's schema, for an EventBridge schema registry.

`make schemas` does so from the same types as docs/events/. EventBridge takes no JSON Schema of
today: it takes OpenAPI 3.0, describes the whole event by its component AWSEvent, and makes code
bindings for several languages from that.

Source: "Creating an EventBridge schema using a template" in the EventBridge guide.
"""

import textwrap
from pathlib import Path
from typing import Any

import msgspec

from roomkeeper.domain import events

FILE = Path(__file__).parent.parent / "schemas/template.yaml"

_HEAD = """\
# Written by `make schemas` from the code's types: change those.
AWSTemplateFormatVersion: "2010-09-09"
Description: The schemas of Roomkeeper's events

Parameters:
  RegistryName:
    Type: String
    Description: What the registry is called.

Resources:
  Registry:
    Type: AWS::EventSchemas::Registry
    Properties:
      RegistryName: !Ref RegistryName
      Description: What happens in Vonage's rooms, from Roomkeeper
"""
_SCHEMA = """
  {id}:
    Type: AWS::EventSchemas::Schema
    Properties:
      RegistryName: !GetAtt Registry.RegistryName
      SchemaName: {source}@{id}
      Description: {description}
      Type: OpenApi3
      Content: |
{content}
"""
_TEXT = {"type": "string"}
_ENVELOPE = {
    **dict.fromkeys(("version", "id", "detail-type", "source", "account", "region"), _TEXT),
    "time": {"type": "string", "format": "date-time"},
    "resources": {"type": "array", "items": _TEXT},
}


def write() -> None:
    """Write the file."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(template())


def template() -> str:
    """Return the CloudFormation template of the registry and all schemas."""
    return _HEAD + "".join(map(_resource, events.data_types))


def open_api(name: str) -> dict[str, Any]:
    """Return what describes a whole event of a detail-type, as OpenAPI 3.0."""
    title = id_of(name)
    fields = [("metadata", events.Metadata), ("data", events.data_types[name])]
    detail = msgspec.defstruct(f"{title}Detail", fields)
    [reference], components = msgspec.json.schema_components(
        [detail], ref_template="#/components/schemas/{name}"
    )
    properties = {**_ENVELOPE, "detail": reference}
    event = {
        "type": "object",
        "x-amazon-events-source": events.SOURCE,
        "x-amazon-events-detail-type": name,
        "properties": properties,
        "required": list(properties),
    }
    return {
        "openapi": "3.0.0",
        "info": {"title": title, "version": f"{events.VERSION}.0.0"},
        "paths": {},
        "components": {"schemas": _as_3_0({"AWSEvent": event, **components})},
    }


def id_of(name: str) -> str:
    """Return a detail-type as a CloudFormation id: `RecordingUploaded`."""
    return "".join(word.capitalize() for word in name.split(":"))


def _resource(name: str) -> str:
    content = msgspec.json.format(msgspec.json.encode(open_api(name))).decode()
    return _SCHEMA.format(
        id=id_of(name),
        source=events.SOURCE,
        description=f"The event {name}".replace(":", " "),
        content=textwrap.indent(content, " " * 8),
    )


def _as_3_0(schema: Any) -> Any:
    """Return a schema in OpenAPI 3.0, which has no null: a field without a value is left out."""
    if isinstance(schema, list):
        return [_as_3_0(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _as_3_0(part) for name, part in schema.items() if part is not None}
    if "enum" in kept:
        return _TEXT | kept
    if "anyOf" not in kept:
        return kept
    [only] = [part for part in kept.pop("anyOf") if part != {"type": "null"}]
    return {**kept, **only}
