import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import boto3
import msgspec
import pytest

from local.testing.builders import (
    NOON,
    RECORDING_ID,
    ROOM_ID,
    SESSION_ID,
    AContext,
    a_callback,
    a_record,
    a_recording_ended,
    a_recording_started,
    a_recording_uploaded,
    a_session_started,
    sample,
)
from local.testing.sdk import CUT_OFF
from local.testing.template import environment
from roomkeeper.aws.bus import Bus
from roomkeeper.domain.observations import RecordingObservation
from roomkeeper.handlers import event_publisher as app
from roomkeeper.store import Store, StoreUnavailable
from roomkeeper.times import iso
from tests.unit.conftest import Output, Table

ACCEPTED = {"EventId": "11710aed-b79e-4468-a20b-bb3c0c3b4860"}
THROTTLED = {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"}
REFUSED = {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
SECRET_URL = "https://a/b.mp4?Signature=X-Signature-Of-Url"
Record = dict[str, Any]


class FakeEventBridge:
    """An EventBridge with a response for each recording; it accepts all other events."""

    def __init__(self) -> None:
        self.responses: dict[str, dict[str, str]] = {}
        self.published: list[dict[str, Any]] = []

    def put_events(self, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803
        return {"Entries": [self._take(entry) for entry in Entries]}

    def _take(self, entry: Mapping[str, Any]) -> dict[str, str]:
        event = {"detail-type": entry["DetailType"], **json.loads(entry["Detail"])["data"]}
        response = self.responses.get(event.get("recording_id", ""), ACCEPTED)
        if response == ACCEPTED:
            self.published.append(event)
        return response


@pytest.fixture
def bridge() -> FakeEventBridge:
    return FakeEventBridge()


@pytest.fixture(scope="module")
def sqs(moto: None) -> Any:
    return boto3.client("sqs")


@pytest.fixture(autouse=True)
def queue_url(
    sqs: Any, table: Table, bridge: FakeEventBridge, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Set up the function with the template's environment, a queue and a table."""
    url: str = sqs.create_queue(QueueName=table.name)["QueueUrl"]
    ours = {"TABLE_NAME": table.name, "DEAD_LETTER_QUEUE_URL": url}
    for name, value in (environment("EventPublisher") | ours).items():
        monkeypatch.setenv(name, value)
    client: Any = bridge
    bus = Bus(client, "rooms", sleep=lambda _seconds: None)
    monkeypatch.setattr(app, "_bus", lambda: bus)
    return url


@pytest.fixture
def dead_letters(sqs: Any, queue_url: str) -> Callable[[], list[dict[str, Any]]]:
    """Return the messages in the dead-letter queue."""

    def receive() -> list[dict[str, Any]]:
        response = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in response.get("Messages", [])]

    return receive


def publish(*records: Record) -> list[str]:
    """Pass records to the function; return the sequence numbers of those to be retried."""
    response = app.handler({"Records": records}, AContext())
    assert response.keys() == {"batchItemFailures"}
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def started(name: str, **facts: str) -> Record:
    """Return the stream record of a new recording; its sequence number is its name."""
    item: dict[str, Any] = {
        "pk": {"S": f"RECORDING#{name}"},
        "recording_id": {"S": name},
        "session_id": {"S": SESSION_ID},
        "seen": {"SS": ["recording:started"]},
        **{fact: {"S": value} for fact, value in facts.items()},
    }
    return a_record(item, number=name)


def poison(name: str) -> Record:
    """Return a stream record that this table cannot produce."""
    return a_record({"pk": {"S": f"RECORDING#{name}"}, "seen": {"S": "\N{SNOWMAN}"}}, number=name)


# --- published events -----------------------------------------------------------------------------


def test_due_events_are_published(bridge: FakeEventBridge) -> None:
    assert publish(started("1"), started("2")) == []
    assert [event["recording_id"] for event in bridge.published] == ["1", "2"]


def test_the_sample_batch_is_published(bridge: FakeEventBridge) -> None:
    assert publish(*sample("functions/event_publisher.json")["Records"]) == []
    assert [event["detail-type"] for event in bridge.published] == ["recording:uploaded"]


def test_a_change_without_events_publishes_nothing(bridge: FakeEventBridge) -> None:
    item = started("1")["dynamodb"]["NewImage"]
    assert publish(a_record({**item, "hold": {"BOOL": True}}, item)) == []
    assert bridge.published == []


@pytest.mark.parametrize("event", ["session:ended", "room:expired", "participant:left", "x"])
def test_every_kind_of_item_is_published(event: str, table: Table, bridge: FakeEventBridge) -> None:
    callback = a_callback(event)
    Store(table.client, table.name).apply(callback, NOON)
    [item] = table.items()
    assert publish(a_record(item)) == []
    assert [event["detail-type"] for event in bridge.published] == [callback.event]


# --- the room -------------------------------------------------------------------------------------


def test_a_recording_event_gets_the_room_of_its_session(
    table: Table, bridge: FakeEventBridge
) -> None:
    Store(table.client, table.name).apply(a_session_started(), NOON)
    publish(started("1"), started("2", room_id="its-own-room"), started("3", session_id="other"))
    assert [event.get("room_id") for event in bridge.published] == [ROOM_ID, "its-own-room", None]


def test_no_session_is_read_if_no_room_is_missing(
    bridge: FakeEventBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TABLE_NAME", "missing")
    assert publish(started("1", room_id="room")) == []
    assert len(bridge.published) == 1


@pytest.mark.parametrize("room_id", [None, {"N": "7"}], ids=["missing", "a number"])
def test_a_corrupt_session_does_not_block_the_events_of_its_recordings(
    room_id: Any, table: Table, bridge: FakeEventBridge
) -> None:
    item = {"pk": {"S": f"SESSION#{SESSION_ID}"}, "session_id": {"S": SESSION_ID}}
    table.client.put_item(
        TableName=table.name, Item=item | ({"room_id": room_id} if room_id else {})
    )
    assert publish(started("1")) == []
    assert [event.get("room_id", "none") for event in bridge.published] == ["none"]


@pytest.mark.filterwarnings("ignore:No application metrics to publish")
def test_a_batch_fails_without_publishing_while_rooms_cannot_be_read(
    bridge: FakeEventBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TABLE_NAME", "missing")
    with pytest.raises(StoreUnavailable, match="A call to DynamoDB failed"):
        publish(started("1"))
    assert bridge.published == []


# --- failures -------------------------------------------------------------------------------------


def test_only_unavailable_records_are_retried(
    bridge: FakeEventBridge, dead_letters: Callable[[], list[Any]]
) -> None:
    bridge.responses = {"2": THROTTLED, "4": THROTTLED}
    assert publish(*(started(n) for n in "12345")) == ["2", "4"]
    assert [event["recording_id"] for event in bridge.published] == ["1", "3", "5"]
    assert dead_letters() == []


@pytest.mark.parametrize("index", [0, 1, 2])
def test_an_invalid_record_goes_to_the_dlq_complete_and_does_not_block_others(
    index: int, bridge: FakeEventBridge, dead_letters: Callable[[], list[Any]]
) -> None:
    records = [started("1"), started("2")]
    records.insert(index, poison("9"))
    assert publish(*records) == []
    assert [event["recording_id"] for event in bridge.published] == ["1", "2"]
    [message] = dead_letters()
    assert message["record"] == poison("9")
    assert message["reason"].startswith("ValidationError: ")


def test_the_complete_record_of_a_refused_event_goes_to_the_dlq(
    bridge: FakeEventBridge, dead_letters: Callable[[], list[Any]]
) -> None:
    bridge.responses = {"1": REFUSED}
    assert publish(started("1"), started("2")) == []
    assert dead_letters() == [
        {"reason": "MalformedDetail: Detail is malformed.", "record": started("1")}
    ]


@pytest.mark.parametrize("character", ["\ufffe", "\uffff", "\x01", "\N{SNOWMAN}"])
def test_a_record_with_any_characters_goes_to_the_dlq(
    character: str, bridge: FakeEventBridge, sqs: Any, queue_url: str
) -> None:
    """SQS refuses some characters unescaped; the SQS in these tests does not."""
    bridge.responses = {"1": REFUSED}
    record = started("1", room_id=f"a{character}b")
    assert publish(record) == []
    [message] = sqs.receive_message(QueueUrl=queue_url)["Messages"]
    assert message["Body"].isascii()
    assert message["Body"].isprintable()
    assert json.loads(message["Body"])["record"] == record


def test_only_the_key_of_a_record_that_sqs_refuses_goes_to_the_dlq(
    bridge: FakeEventBridge, dead_letters: Callable[[], list[Any]]
) -> None:
    bridge.responses = {"1": REFUSED}
    record = started("1", room_id="x" * 1_100_000)
    assert publish(record, poison("2")) == []
    assert [message.get("key") for message in dead_letters()] == ["RECORDING#1", None]


def test_a_record_that_cannot_be_sent_to_the_dlq_is_retried(
    bridge: FakeEventBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEAD_LETTER_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/1/missing")
    bridge.responses = {"3": THROTTLED}
    assert publish(started("1"), poison("2"), started("3")) == ["2", "3"]
    assert [event["recording_id"] for event in bridge.published] == ["1"]


def test_a_record_is_retried_and_the_error_logged_if_sqs_is_unreachable(
    monkeypatch: pytest.MonkeyPatch, output: Output
) -> None:
    class UnreachableQueue:
        def send_message(self, **_message: str) -> None:
            raise CUT_OFF

    monkeypatch.setattr(app, "_queue", UnreachableQueue)
    assert publish(poison("1")) == ["1"]
    assert str(CUT_OFF) in output.logged("dead letter not sent")["exception"]


def test_after_the_first_failed_dlq_message_no_other_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lambda redelivers all of them, and the timeout allows one failure only."""
    tried: list[str] = []

    class UnreachableQueue:
        def send_message(self, MessageBody: str, **_more: str) -> None:  # noqa: N803
            tried.append(MessageBody)
            raise CUT_OFF

    monkeypatch.setattr(app, "_queue", UnreachableQueue)
    assert publish(poison("1"), poison("2")) == ["1"]
    assert len(tried) == 1


def test_a_record_that_cannot_be_sent_to_the_dlq_takes_no_earlier_one_along(
    bridge: FakeEventBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda redelivers from the first failure on: a refused record before it must be sent."""
    sent: list[str] = []

    class OftenUnreachableQueue:
        def send_message(self, MessageBody: str, **_more: str) -> None:  # noqa: N803
            if sent or '"reason": "ValidationError' in MessageBody:
                raise CUT_OFF
            sent.append(MessageBody)

    queue = OftenUnreachableQueue()
    monkeypatch.setattr(app, "_queue", lambda: queue)
    bridge.responses = {"1": REFUSED}
    assert publish(started("1"), poison("2")) == ["2"]
    assert [json.loads(body)["record"] for body in sent] == [started("1")]


def test_a_refused_record_after_the_first_failure_is_not_sent_to_the_dlq_yet(
    bridge: FakeEventBridge, dead_letters: Callable[[], list[Any]]
) -> None:
    bridge.responses = {"1": THROTTLED}
    batch = [started("1"), poison("2")]
    assert publish(*batch) == ["1"]
    bridge.responses = {}  # and Lambda comes again with all from there on
    assert publish(*batch) == []
    assert len(dead_letters()) == 1


def test_a_redriven_record_that_fails_again_is_not_sent_to_the_dlq(
    bridge: FakeEventBridge, dead_letters: Callable[[], list[Any]]
) -> None:
    bridge.responses = {"1": REFUSED}
    records = [started("1"), poison("2"), started("3")]
    response = app.handler({"Records": records, "redrive": True}, AContext())
    assert [each["itemIdentifier"] for each in response["batchItemFailures"]] == ["1", "2"]
    assert dead_letters() == []


# --- logs and metrics -----------------------------------------------------------------------------


def test_published_refused_and_delayed_events_are_counted(
    bridge: FakeEventBridge, output: Output
) -> None:
    bridge.responses = {"2": REFUSED, "5": THROTTLED}
    publish(started("1"), started("2"), poison("3"), started("4"), started("5"))
    assert output.metrics == {"EventPublished": 2, "EventRefused": 2, "EventDelayed": 1}


@pytest.fixture
def waiting(table: Table) -> Store:
    """The table of a stack that copies recordings, with one that awaits its copy."""
    found = Store(table.client, table.name, event_days=30, deleted_days=90, copies=True)
    found.apply(a_recording_uploaded(), NOON)
    return found


CLOSED = [f"recording:{stage}" for stage in ("failed", "expired", "deleted")]


def change(table: Table, act: Callable[[], object]) -> Record:
    """Return the stream's record of the change that `act` makes to the recording."""
    key = f"RECORDING#{RECORDING_ID}"
    before = table.item(key)
    act()
    after = table.item(key)
    assert after
    return a_record(after, before)


@pytest.mark.parametrize("event", CLOSED)
def test_a_recording_that_vonage_loses_before_its_copy_is_counted_once(
    event: str, waiting: Store, table: Table, output: Output
) -> None:
    report = msgspec.structs.replace(a_recording_uploaded(), event=event)
    record = change(table, lambda: waiting.apply(report, NOON))
    late = change(table, lambda: waiting.apply(a_recording_ended(), NOON))
    assert publish(record, late) == []
    assert output.metrics["RecordingLostUncopied"] == 1
    assert output.logged("recording lost before its copy")["recording_id"] == RECORDING_ID


@pytest.mark.parametrize("event", [*CLOSED, "recording:stored"])
def test_a_recording_with_a_copy_or_in_its_owners_storage_is_not_lost(
    event: str, waiting: Store, table: Table, output: Output
) -> None:
    if event != "recording:stored":
        table.client.update_item(
            TableName=table.name,
            Key={"pk": {"S": f"RECORDING#{RECORDING_ID}"}},
            UpdateExpression="SET copied_at = :now",
            ExpressionAttributeValues={":now": {"S": iso(NOON)}},
        )
    report = msgspec.structs.replace(a_recording_uploaded(), event=event)
    publish(change(table, lambda: waiting.apply(report, NOON)))
    assert "RecordingLostUncopied" not in output.metrics


def test_an_item_that_becomes_corrupt_while_it_awaits_its_copy_does_not_block_its_shard(
    waiting: Store, table: Table, output: Output
) -> None:
    item = table.item(f"RECORDING#{RECORDING_ID}")
    assert item
    corrupt = a_record({**item, "started_at": {"S": "yesterday"}}, item)
    assert publish(corrupt, started("1")) == []
    assert output.metrics == {"EventPublished": 1}


def test_a_recording_that_is_deleted_on_request_is_not_lost(
    waiting: Store, table: Table, output: Output
) -> None:
    delete = waiting.recordings.mark_deleted
    publish(change(table, lambda: delete(RECORDING_ID, "management", NOON)))
    assert output.metrics == {"EventPublished": 1}


@pytest.mark.parametrize("reported_by", ["callback", "reconciliation"])
def test_a_recording_that_failed_is_counted_whoever_reports_it(
    reported_by: str, table: Table, output: Output
) -> None:
    found = Store(table.client, table.name, event_days=30, deleted_days=90)
    found.apply(a_recording_started(), NOON)
    report = msgspec.structs.replace(a_recording_uploaded(), event="recording:failed")
    assert isinstance(report, RecordingObservation)
    store = found.apply if reported_by == "callback" else found.recordings.reconcile
    assert publish(change(table, lambda: store(report, NOON))) == []
    assert output.metrics == {"EventPublished": 1, "RecordingFailed": 1}


def test_a_published_event_is_logged_by_its_id(output: Output) -> None:
    publish(started("1"))
    line = output.logged("event published")
    assert (line["event"], line["recording_id"]) == ("recording:started", "1")
    assert line["session_id"] == SESSION_ID
    assert len(line["correlation_id"]) == 36


def test_an_unpublished_event_is_logged_with_the_reason(
    bridge: FakeEventBridge, output: Output
) -> None:
    bridge.responses = {"1": REFUSED}
    publish(started("1"), poison("2"))
    assert output.logged("event not published")["reason"] == "MalformedDetail: Detail is malformed."
    assert output.logged("stream record is invalid")["key"] == "RECORDING#2"


@pytest.mark.parametrize("response", [ACCEPTED, REFUSED, THROTTLED], ids=str)
def test_no_log_line_has_a_url_or_a_body(
    response: dict[str, str], table: Table, bridge: FakeEventBridge, output: Output
) -> None:
    store = Store(table.client, table.name)
    for callback in (
        a_recording_uploaded(recording_id="1", url=SECRET_URL),
        a_recording_started(recording_id="2"),
        a_callback("archive:ready", url=SECRET_URL, name="Lovelace"),
    ):
        store.apply(callback, NOON)
    broken = {"pk": {"S": "RECORDING#9"}, "url": {"S": SECRET_URL}, "seen": {"S": "x"}}
    bridge.responses = {"1": response}
    publish(*(a_record(item) for item in [*table.items(), broken]))
    assert output.text.count('"level"') == 4
    assert "X-Signature-Of-Url" not in output.text
    assert "Lovelace" not in output.text
