import json
from pathlib import Path

from roomkeeper.logs import as_json


def test_a_line_is_json_in_utf_8_with_values_of_unknown_types_as_text() -> None:
    line = {"message": "Raum gelöscht", "count": 2, "reasons": ["a", None], "path": Path("a/b")}

    text = as_json(line)

    assert json.loads(text) == line | {"path": "a/b"}
    assert "gelöscht" in text
    assert "\n" not in text


def test_a_line_with_a_lone_surrogate_is_written_with_an_escape() -> None:
    line = {"message": "cut \ud83d", "path": Path("a/b")}

    text = as_json(line)

    assert text.isascii()
    assert json.loads(text) == line | {"path": "a/b"}
