"""`make schemas`: writes the JSON Schemas of all events' details into docs/events/.

It also writes schemas/, the same schemas for an EventBridge schema registry. Both are generated
from the types in the code.

The schemas are the contract with subscribers. Within version 1, only additions are allowed.
"""

from pathlib import Path
from typing import Any

import msgspec

from roomkeeper.domain import events
from tools import schema_registry
from tools.docstrings import dedented

FOLDER = Path(__file__).parent.parent / "docs/events"
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each detail-type, by file name."""
    return {f"{name.replace(':', '-')}.json": _schema(name) for name in events.data_types}


def main() -> None:
    """Write all schemas, and remove obsolete files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    current = schemas()
    for file in FOLDER.glob("*.json"):
        if file.name not in current:
            file.unlink()
    for name, schema in current.items():
        (FOLDER / name).write_bytes(msgspec.json.format(msgspec.json.encode(schema)) + b"\n")
    schema_registry.write()


def _schema(name: str) -> dict[str, Any]:
    data = events.data_types[name]
    detail = msgspec.defstruct("Detail", [("metadata", events.Metadata), ("data", data)])
    return {
        "$schema": DRAFT,
        "title": name,
        "description": f"The detail of an event of detail-type {name}, source {events.SOURCE}.",
        **dedented(msgspec.json.schema(detail)),
    }


if __name__ == "__main__":
    main()
