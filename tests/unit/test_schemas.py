"""The events' schemas, generated from the code's types for docs and the schema registry."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from local.testing.builders import NOON, PUBLISHED, a_callback, a_record
from local.testing.template import ROOT, properties, template
from roomkeeper import store
from roomkeeper.callbacks import video
from roomkeeper.domain import events
from roomkeeper.store import Store
from tests.unit.conftest import Table
from tools import event_schemas, schema_registry

REWRITE = "run make schemas"


def test_the_schemas_in_docs_are_those_of_the_types() -> None:
    written = {file.name: json.loads(file.read_text()) for file in event_schemas.FOLDER.iterdir()}
    assert written == event_schemas.schemas(), REWRITE


def test_the_schemas_for_the_registry_are_those_of_the_types() -> None:
    assert schema_registry.FILE.read_text() == schema_registry.template(), REWRITE


def test_the_registry_can_be_left_out() -> None:
    nested = template()["Resources"]["EventSchemas"]
    assert nested["Condition"] == "HasSchemaRegistry"
    assert (schema_registry.FILE.parents[1] / properties("EventSchemas")["TemplateURL"]).exists()


@pytest.mark.parametrize("name", events.data_types)
def test_a_schema_for_the_registry_is_openapi_3_0(name: str) -> None:
    text = json.dumps(schema_registry.open_api(name))
    assert "null" not in text  # OpenAPI 3.0 has neither null types nor $defs
    assert "$defs" not in text
    assert len(text) < 100_000  # characters, what a schema may have


def as_delivered(event: events.Event) -> dict[str, Any]:
    """Return an event as EventBridge delivers it."""
    return {
        "version": "0",
        "id": "11710aed-b79e-4468-a20b-bb3c0c3b4860",
        "detail-type": event.name,
        "source": events.SOURCE,
        "account": "123456789012",
        "time": "2026-11-22T12:00:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": json.loads(event.detail()),
    }


@pytest.mark.parametrize("name", [*PUBLISHED, "archive:ready"])
def test_published_events_match_the_registry(name: str, table: Table) -> None:
    Store(table.client, table.name).apply(a_callback(name), NOON)
    [event] = store.events_due(a_record(table.items()[0]))
    schema = schema_registry.open_api(event.name)
    validator = Draft202012Validator({"$ref": "#/components/schemas/AWSEvent", **schema})
    validator.validate(as_delivered(event))
    with pytest.raises(ValidationError):
        validator.validate(as_delivered(event) | {"detail": {"data": {}}})


@pytest.mark.parametrize(
    "path", sorted((ROOT / "events").glob("video_*.json")), ids=lambda path: path.stem
)
def test_the_event_of_a_video_callback_matches_its_schemas(path: Path, table: Table) -> None:
    Store(table.client, table.name).apply(video.parse(path.read_bytes()), NOON)
    [event] = store.events_due(a_record(table.items()[0]))
    delivered = as_delivered(event)
    file = f"{event.name.replace(':', '-')}.json"
    Draft202012Validator(event_schemas.schemas()[file]).validate(delivered["detail"])
    registered = schema_registry.open_api(event.name)
    Draft202012Validator({"$ref": "#/components/schemas/AWSEvent", **registered}).validate(
        delivered
    )


SAMPLES = ROOT / "events/published"


def test_every_event_has_a_sample() -> None:
    names = {json.loads(path.read_text())["detail-type"] for path in SAMPLES.glob("*.json")}
    assert names == {*events.data_types}


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_a_sample_is_valid_for_its_schema(path: Path) -> None:
    sample = json.loads(path.read_text())
    assert path.stem == sample["detail-type"].replace(":", "-")
    Draft202012Validator(event_schemas.schemas()[path.name]).validate(sample["detail"])
    registered = schema_registry.open_api(sample["detail-type"])
    Draft202012Validator({"$ref": "#/components/schemas/AWSEvent", **registered}).validate(sample)
    fields = events.data_types[sample["detail-type"]].__struct_fields__
    assert {*sample["detail"]["data"]} <= {*fields}


SUBSCRIBING = (ROOT / "docs/subscribing.md").read_text()


def test_the_page_on_subscribing_names_every_event() -> None:
    chapter = SUBSCRIBING.partition("## What an event looks like\n")[2].partition("```")[0]
    named = set(re.findall(r"`((?:recording|session|room|callback):[\w:]+)`", chapter))
    assert named == events.data_types.keys()


def test_the_page_on_subscribing_shows_an_event_as_it_is() -> None:
    [text] = re.findall(r"```json\n(.+?)```", SUBSCRIBING, re.DOTALL)
    shown = json.loads(text)
    schema = event_schemas.schemas()[f"{shown['detail-type'].replace(':', '-')}.json"]
    Draft202012Validator(schema).validate(shown["detail"])
    assert shown["source"] == events.SOURCE
    data = shown["detail"]["data"]
    assert data.keys() == set(events.data_types[shown["detail-type"]].__struct_fields__)
