"""`make schemas`: writes docs/events/, a JSON Schema for the detail of every event, from the types.

It writes schemas/, the same for an EventBridge schema registry, along with them.

The schemas are the contract with subscribers: within version 1 they only grow.
"""

from pathlib import Path
from typing import Any

import msgspec

from roomkeeper.domain import events
from tools import schema_registry

FOLDER = Path(__file__).parent.parent / "docs/events"
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each detail-type, by the name of its file."""
    return {f"{name.replace(':', '-')}.json": _schema(name) for name in events.data_types}


def main() -> None:
    """Write every schema, and remove files that are none any more."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    current = schemas()
    for left in FOLDER.glob("*.json"):
        if left.name not in current:
            left.unlink()
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
        **msgspec.json.schema(detail),
    }


if __name__ == "__main__":
    main()
