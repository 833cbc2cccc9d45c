"""Text from callbacks reaches the operator's terminal only escaped."""

from datetime import timedelta
from typing import Any

import pytest

from local.testing.builders import RECORDING_ID, Image
from operations import events, items, layout, logs, trace
from operations.command import command
from operations.selection import Selection
from operations.stack import StackError
from operations.terminal import escape, without_queries

CLEAR_SCREEN = "\x1b[2J"
HOSTILE = f"{CLEAR_SCREEN}\x9b2J\r\n\x07\u202e\u2028"
ESCAPED = r"\x1b[2J\x9b2J\r\n\x07\u202e\u2028"
SIGNED = "https://bucket.example/a.mp4?X-Amz-Signature=s3cret&x=1"


class ATable:
    """A stack with these items and empty logs."""

    name = "a-stack"
    outputs = {"TableName": "table"}  # noqa: RUF012

    def __init__(self, *items: Image) -> None:
        self._items = items

    def client(self, _service: str) -> Any:
        return self

    def scan(self, **_how: Any) -> dict[str, Any]:
        return {"Items": list(self._items)}

    def get_item(self, Key: Any, **_how: Any) -> dict[str, Any]:  # noqa: N803
        found = [item for item in self._items if item["pk"] == Key["pk"]]
        return {"Item": found[0]} if found else {}


def shown(**attributes: dict[str, Any]) -> dict[str, str]:
    """Return an item as `make items` shows it."""
    stack: Any = ATable({"pk": {"S": "EVENT#1"}, **attributes})
    [item] = items.items(stack, 1, Selection())
    return item


def test_control_characters_are_escaped_and_other_scripts_are_not() -> None:
    assert escape(HOSTILE) == ESCAPED
    assert escape("Ådåo 会議 🎥 a\\b") == "Ådåo 会議 🎥 a\\b"
    assert escape("\ud800") == r"\ud800"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (SIGNED, "https://bucket.example/a.mp4?..."),
        (f'{{"url":"{SIGNED}","size":1}}', '{"url":"https://bucket.example/a.mp4?...","size":1}'),
        (
            f"GET {SIGNED} returned 404. Why?",
            "GET https://bucket.example/a.mp4?... returned 404. Why?",
        ),
        ("why? because", "why? because"),
    ],
)
def test_the_queries_of_urls_are_removed(text: str, kept: str) -> None:
    assert without_queries(text) == kept


def test_the_queries_of_a_long_text_are_removed_in_linear_time() -> None:
    """Quadratic time would be hours: any principal that may publish events chooses their text."""
    repeated = "://" * 1_000_000
    assert without_queries(f"{repeated} {SIGNED}").startswith(f"{repeated} https://bucket")


@pytest.mark.parametrize(
    "value",
    [{"S": HOSTILE}, {"SS": [HOSTILE]}, {"M": {HOSTILE: {"S": HOSTILE}}}],
)
def test_an_items_texts_are_escaped(value: dict[str, Any]) -> None:
    assert CLEAR_SCREEN[0] not in shown(room_id=value)["room_id"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"NULL": True}, "(none)"),
        ({"BOOL": True}, "true"),
        ({"N": "42"}, "42"),
        ({"SS": ["b", "a"]}, "a, b"),
        ({"L": [{"S": "b"}, {"NULL": True}]}, "b, (none)"),
        ({"M": {"key": {"S": "x"}, "size": {"N": "3"}}}, "key x, size 3"),
    ],
)
def test_an_items_values_are_shown_in_words(value: dict[str, Any], text: str) -> None:
    assert shown(ttl=value)["ttl"] == text


@pytest.mark.parametrize(("terminal", "is_shown"), [("xterm", True), ("dumb", False)])
def test_progress_is_shown_only_where_it_can_be_erased(
    terminal: str,
    is_shown: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with layout.progress("Reading"):
        pass
    assert ("Reading ..." in capsys.readouterr().err) is is_shown


def test_output_into_a_pipe_is_not_wrapped_however_long_a_line_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    layout.line("word " * 20_000, 0)
    layout.field("name", "word " * 20_000)
    assert len(capsys.readouterr().out.splitlines()) == 2


def make_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let output go to a terminal of 60 columns."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)


def test_items_are_readable_at_60_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_narrow(monkeypatch)
    table = ATable({"pk": {"S": f"RECORDING#{RECORDING_ID}"}, "reason": {"S": "word " * 30}})
    monkeypatch.setattr(items, "deployed_stack", lambda _name: table)
    monkeypatch.setattr("sys.argv", ["items"])
    assert items.main() == 0
    first, key, *reason = capsys.readouterr().out.splitlines()
    assert (first.strip(), key.strip()) == ("pk", f"RECORDING#{RECORDING_ID}")
    assert len(reason) > 2
    assert max(map(len, reason)) <= 60


def test_log_lines_and_events_are_readable_at_60_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_narrow(monkeypatch)
    data = {"product": "video", "recording_id": RECORDING_ID, "session_id": "s" * 30}
    event = {
        "time": "2026-11-22T20:50:24Z",
        "detail-type": "recording:uploaded",
        "detail": {"data": data},
    }
    logs._print(iter(["20:50:24 event_publisher " + "name=value " * 20]))
    events._show(event, as_it_is=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 6
    assert max(map(len, lines)) <= 60


def test_an_attributes_name_is_escaped() -> None:
    [_pk, name] = shown(**{HOSTILE: {"S": "x"}})
    assert name == ESCAPED


@pytest.mark.parametrize("url", [SIGNED, "https://bucket.example/a b?X-Amz-Signature=s3cret"])
def test_an_items_url_is_shown_without_its_query(url: str) -> None:
    assert "s3cret" not in shown(url={"S": url})["url"]
    assert "s3cret" not in shown(detail={"S": f'{{"url":"{SIGNED}"}}'})["detail"]


def test_the_body_of_an_unrecognized_callback_is_not_shown() -> None:
    assert shown(body={"S": "Ada's name"})["body"] == "(not shown)"


def test_a_story_is_escaped_and_has_no_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    line = {
        "message": "item failed",
        "error": f"{HOSTILE} {SIGNED}",
        "service": HOSTILE,
        "timestamp": "2026-11-22 20:50:24,061+0000",
    }
    monkeypatch.setattr("operations.insights.lines", lambda *_args: [line])
    recording: Image = {
        "pk": {"S": f"RECORDING#{RECORDING_ID}"},
        "recording_id": {"S": RECORDING_ID},
        "session_id": {"S": HOSTILE},
        "room_id": {"S": SIGNED},
        "seen": {"SS": ["recording:started"]},
    }
    stack: Any = ATable(recording)

    lines = list(trace.history(stack, RECORDING_ID, timedelta(days=1)))

    assert all(line.isprintable() for line in lines)
    assert "s3cret" not in "".join(lines)
    assert ESCAPED in "".join(lines)


def test_an_error_that_quotes_a_callback_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def main() -> int:
        raise StackError(f"one {CLEAR_SCREEN}\ntwo")

    assert main() == 1
    assert capsys.readouterr().err == "one \\x1b[2J\ntwo\n"
