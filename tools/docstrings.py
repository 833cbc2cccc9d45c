"""Docstrings in generated files, the same on every Python."""

import inspect
from typing import Any


def dedented(schema: Any) -> Any:
    """Return a JSON Schema with each description without the indent of its source.

    Python 3.13 strips that indent when it compiles a docstring; earlier versions keep it.
    """
    if isinstance(schema, dict):
        return {
            name: inspect.cleandoc(each)
            if name == "description" and isinstance(each, str)
            else dedented(each)
            for name, each in schema.items()
        }
    if isinstance(schema, list):
        return [dedented(each) for each in schema]
    return schema
