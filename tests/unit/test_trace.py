"""`make trace`: the log queries, and the history made from their results."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.testing.builders import NOON, RECORDING_ID, SESSION_ID, Image
from operations import insights, trace
from operations.stack import StackError

AT = "2026-11-22 20:50:24,061+0000"
IN_RFC_3339 = "2026-11-22T20:50:24.061+00:00"
CALLER = "arn:aws:iam::123456789012:user/ada"


def a_line(message: str, **fields: Any) -> dict[str, Any]:
    common = {"message": message, "service": "a_function", "timestamp": AT}
    return {**common, "recording_id": RECORDING_ID, **fields}


class ALogs:
    """CloudWatch Logs with these `events`; a query has each of `statuses` in turn."""

    def __init__(self, events: list[str], *statuses: str) -> None:
        self.events = events
        self.statuses = [*statuses] or ["Complete"]
        self.query: dict[str, Any] = {}

    def start_query(self, **query: Any) -> dict[str, str]:
        self.query = query
        return {"queryId": "a-query"}

    def get_query_results(self, queryId: str) -> dict[str, Any]:  # noqa: ARG002, N803
        rows = [[{"field": "@message", "value": event}] for event in self.events]
        return {"status": self.statuses.pop(0), "results": rows}


class APaginator:
    def paginate(self, StackName: str) -> Iterator[Any]:  # noqa: ARG002, N803
        yield {
            "StackResourceSummaries": [
                resource("Logs::LogGroup", "one"),
                resource("S3::Bucket", "b"),
            ]
        }
        yield {"StackResourceSummaries": [resource("Logs::LogGroup", "two")]}


def resource(kind: str, name: str) -> dict[str, str]:
    return {
        "ResourceType": f"AWS::{kind}",
        "PhysicalResourceId": name,
        "LogicalResourceId": name,
    }


class AStack:
    """A stack with these logs and items."""

    name = "a-stack"
    outputs = {"TableName": "table"}  # noqa: RUF012

    def __init__(self, logs: ALogs, *items: Image) -> None:
        self._logs = logs
        self._items = {item["pk"]["S"]: item for item in items}

    def client(self, service: str) -> Any:
        return self._logs if service == "logs" else self

    def get_paginator(self, _operation: str) -> APaginator:
        return APaginator()

    def get_item(self, Key: Any, **_how: Any) -> dict[str, Any]:  # noqa: N803
        item = self._items.get(Key["pk"]["S"])
        return {"Item": item} if item else {}


def lines(logs: ALogs, *ids: str) -> list[insights.Line]:
    stack: Any = AStack(logs)
    return insights.lines(stack, ids or [RECORDING_ID], NOON)


def history_text(logs: list[dict[str, Any]], *items: Image) -> str:
    stack: Any = AStack(ALogs([json.dumps(line) for line in logs]), *items)
    return "\n".join(trace.history(stack, RECORDING_ID, timedelta(days=30)))


# --- asking ---------------------------------------------------------------------------------------


def test_every_log_group_of_the_stack_is_queried_from_that_time_on() -> None:
    logs = ALogs([])
    lines(logs)
    assert logs.query["logGroupNames"] == ["one", "two"]
    assert logs.query["startTime"] == NOON.timestamp()


@pytest.mark.parametrize("id_", ["a.b", "a|b", 'a"b', "a b", "ä", "(a", "a-1_2"])
def test_an_id_is_matched_literally_as_the_log_writes_it(id_: str) -> None:
    logs = ALogs([])
    lines(logs, id_)
    [pattern] = re.findall(r"like /(.+)/ \|", logs.query["queryString"])
    assert re.search(pattern, json.dumps({"id": id_}, ensure_ascii=False))
    assert not re.search(pattern, "a1b")


def test_a_query_is_polled_until_it_is_complete() -> None:
    logs = ALogs([json.dumps(a_line("it"))], "Scheduled", "Running", "Complete")
    assert [line["message"] for line in lines(logs)] == ["it"]


@pytest.mark.parametrize("status", ["Failed", "Cancelled", "Timeout"])
def test_a_failed_query_is_reported(status: str) -> None:
    with pytest.raises(StackError, match=status):
        lines(ALogs([], status))


def test_a_denied_query_is_reported_with_the_needed_permissions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(**_query: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "StartQuery")

    logs = ALogs([])
    monkeypatch.setattr(logs, "start_query", refuse)
    with pytest.raises(StackError, match="logs:StartQuery"):
        lines(logs)


@pytest.mark.parametrize("written", [AT, IN_RFC_3339])
def test_a_lines_time_is_read_in_either_of_powertools_forms(written: str) -> None:
    moment = datetime(2026, 11, 22, 20, 50, 24, 61_000, UTC)
    assert insights.time_of(a_line("x", timestamp=written)) == moment


def test_only_structured_lines_count_in_the_order_of_their_own_times() -> None:
    late, early = a_line("late"), a_line("early", timestamp="2026-11-22 20:50:24,060+0000")
    texts = [
        f"START RequestId: {RECORDING_ID}",
        f'{{"_aws": "{RECORDING_ID}"}}',
        f'"{RECORDING_ID}"',
        json.dumps(late),
        json.dumps(early),
    ]
    assert [line["message"] for line in lines(ALogs(texts))] == ["early", "late"]


# --- the history ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (a_line("callback accepted", event="x:y", is_new=True), "x:y accepted"),
        (a_line("callback accepted", event="x:y", is_new=False), "x:y repeated, nothing new"),
        (
            a_line("callback not stored", event="x:y", error="throttled"),
            "503 in response to x:y, which Vonage sends again: throttled",
        ),
        (a_line("event not published", event="x:y", reason="no"), "x:y not published: no"),
        (a_line("missed callback recovered", event="x:y"), "x:y recovered from Vonage's API"),
        (a_line("recording deleted", deleted_by="vonage"), "found deleted at Vonage"),
        (a_line("item failed", error="Vonage returned 500"), "item failed: Vonage returned 500"),
        (a_line("recording lost"), "recording lost"),
        (a_line("callback accepted"), "callback accepted"),  # as another version may log it
        (
            a_line(
                "management call",
                route="DELETE /recordings/{recording_id}",
                status=409,
                caller=CALLER,
            ),
            f"DELETE /recordings/{{recording_id}} rejected with 409, called by {CALLER}",
        ),
    ],
)
def test_a_line_is_described_in_words(line: dict[str, Any], words: str) -> None:
    text = history_text([line | {"recording_id": RECORDING_ID, "correlation_id": "an-event"}])
    assert f"2026-11-22T20:50:24.061Z  a_function            {words}" in text
    assert text.endswith("  an-event")


def test_a_recording_known_only_from_logs_is_shown() -> None:
    assert history_text([a_line("recording lost")]).startswith(
        f"Recording {RECORDING_ID}: not in the table\n"
    )


def test_lines_about_other_recordings_or_participants_are_left_out() -> None:
    other = a_line("callback accepted", event="x", is_new=True, recording_id="other")
    joined = a_line("event published", event="session:participant:joined", session_id=SESSION_ID)
    text = history_text([other, joined, a_line("recording lost")])
    assert text.count(AT[11:19]) == 1


@pytest.mark.parametrize("id_", ["1746", "7e8b4a3b-6f", "room", "ID"])
def test_a_part_of_an_id_is_not_that_id(id_: str) -> None:
    """Lines about a room or a session have no recording's id, but may contain such a text."""
    others = [
        a_line("event published", recording_id=None, room_id="7e8b4a3b-6f58", key=f"ROOM#X{id_}"),
        a_line("event published", recording_id=None, session_id=f"1746{id_}-1"),
    ]
    texts = [json.dumps({k: v for k, v in each.items() if v}) for each in others]
    own = json.dumps(a_line("stream record is invalid", recording_id=None, key=f"RECORDING#{id_}"))
    assert [each["message"] for each in lines(ALogs([*texts, own]), id_)] == [
        "stream record is invalid"
    ]


def test_without_logs_the_item_still_shows_the_history() -> None:
    moments = ("started_at", "ended_at", "uploaded_at", "deleted_at")
    times = {name: {"S": f"2026-11-0{day}T12:00:00.000Z"} for day, name in enumerate(moments, 1)}
    hold = {
        "reason": {"S": "an inquiry"},
        "requested_by": {"S": "legal"},
        "since": {"S": "2026-11-05T12:00:00Z"},
    }
    recording: Image = {
        "pk": {"S": f"RECORDING#{RECORDING_ID}"},
        "recording_id": {"S": RECORDING_ID},
        "session_id": {"S": SESSION_ID},
        "seen": {"SS": ["recording:uploaded", "recording:deleted"]},
        "duration": {"N": "38"},
        "url": {"S": "https://a/b.mp4?Signature=secret"},
        "deleted_by": {"S": "management"},
        "hold": {"M": hold},
        **times,
    }
    session: Image = {
        "pk": {"S": f"SESSION#{SESSION_ID}"},
        "session_id": {"S": SESSION_ID},
        "room_id": {"S": "a-room"},
        "seen": {"SS": ["session:started"]},
        "started_at": {"S": "2026-11-01T11:00:00Z"},
    }
    text = history_text([], recording, session)
    steps = [line.split(maxsplit=2)[2] for line in text.partition("\n\n")[2].splitlines()]
    assert steps == [
        "session started",
        "started",
        "ended after 38 s",
        "upload known",
        "deleted by management",
        "put on hold",
    ]
    assert "room a-room" in text
    assert "on hold, by legal: an inquiry" in text
    assert "secret" not in text


def test_a_recording_of_video_has_no_room_and_a_reason_for_its_end() -> None:
    moments = ("started_at", "ended_received_at", "stored_at", "expiring_at", "expired_at")
    times = {name: {"S": f"2026-11-0{day}T12:00:00.000Z"} for day, name in enumerate(moments, 1)}
    recording: Image = {
        "pk": {"S": f"RECORDING#{RECORDING_ID}"},
        "recording_id": {"S": RECORDING_ID},
        "session_id": {"S": SESSION_ID},
        "product": {"S": "video"},
        "seen": {"SS": ["recording:stored"]},
        "reason": {"S": "session ended"},
        "expires_at": {"S": "2026-11-04T12:00:00Z"},
        **times,
    }
    paused = a_line(
        "callback accepted",
        event="recording:paused",
        is_new=True,
        recording_id=RECORDING_ID,
        session_id=SESSION_ID,
    )
    life = a_line("event published", event="session:ended", session_id=SESSION_ID)
    stream = a_line("event published", event="session:stream:created", session_id=SESSION_ID)
    text = history_text([paused, life, stream], recording)
    steps = [line.split(maxsplit=2)[2] for line in text.partition("\n\n")[2].splitlines()]
    assert steps == [
        "started",
        "ended (session ended)",
        "stored in the customer's own storage",
        "about to be deleted by Vonage",
        "file deleted by Vonage",
        "recording:paused accepted",
        "session:ended published",
    ]
    assert f"of Video, in session {SESSION_ID}\n" in text
    assert "room" not in text


def test_the_copy_and_its_deletion_are_steps_of_the_history() -> None:
    copy = {
        "bucket": {"S": "copies"},
        "key": {"S": "recordings/a.mp4"},
        "size": {"N": "1"},
        "part_size": {"N": "1"},
        "source_etag": {"S": "an-etag"},
        "started_at": {"S": "2026-11-01T11:59:00Z"},
    }
    known: Image = {
        "pk": {"S": f"RECORDING#{RECORDING_ID}"},
        "recording_id": {"S": RECORDING_ID},
        "session_id": {"S": SESSION_ID},
        "seen": {"SS": ["recording:uploaded", "recording:copied"]},
    }
    read = a_line(
        "management call",
        route="GET /recordings/{recording_id}/file",
        status=200,
        caller=CALLER,
        recording_id=RECORDING_ID,
    )
    copied_at = {"S": "2026-11-01T12:00:00Z"}
    text = history_text([read], {**known, "copy": {"M": copy}, "copied_at": copied_at})
    assert "copied to s3://copies/recordings/a.mp4\n" in text
    assert f"link to the copy returned, called by {CALLER}" in text
    gone = history_text([], {**known, "copy_deleted_at": {"S": "2026-11-02T12:00:00Z"}})
    assert gone.endswith("copy deleted")


def test_an_unknown_recording_is_named() -> None:
    with pytest.raises(StackError, match=rf"a-stack does not know the recording .*{RECORDING_ID}"):
        history_text([])


def test_at_60_columns_no_line_is_longer_unless_an_id_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = a_line("item failed", recording_id=RECORDING_ID, error="Vonage responds 503 " * 5)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("sys.argv", ["trace", "--", RECORDING_ID])
    monkeypatch.setattr(trace, "deployed_stack", lambda _name: AStack(ALogs([json.dumps(line)])))
    assert trace.main() == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) > 4
    assert [each for each in printed if len(each) > 60] == []
