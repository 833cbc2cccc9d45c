"""A dead letter is deleted only after all of its events are published."""

import base64
import io
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Struct

from local.testing.builders import NOON, AContext, a_record
from local.testing.template import environment, properties
from operations import redrive
from operations.stack import Stack
from roomkeeper.aws.bus import Bus
from roomkeeper.handlers import event_publisher as publisher
from roomkeeper.store import events_due
from tests.unit.test_template import lets_through

LAMBDA_PAYLOAD = 6 * 1024 * 1024
STREAM = "arn:aws:dynamodb:eu-west-1:123456789012:table/table/stream/2026"
Record = dict[str, Any]


def failed(operation: str, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "No."}}, operation)


# --- what stands in for AWS -----------------------------------------------------------------------


class FakeQueue:
    """A queue whose messages are visible until they are received, and again when released."""

    def __init__(self, *bodies: Any) -> None:
        texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
        self.bodies = dict(enumerate(texts))
        self._invisible: set[int] = set()
        self.changes: list[int] = []
        self.is_broken = False

    def receive_message(self, **_asked: Any) -> dict[str, Any]:
        for number, body in self.bodies.items():
            if number not in self._invisible:
                self._invisible.add(number)
                name = str(number)
                return {"Messages": [{"MessageId": name, "ReceiptHandle": name, "Body": body}]}
        return {}

    def delete_message(self, ReceiptHandle: str, **_asked: str) -> None:  # noqa: N803
        if self.is_broken:
            raise failed("DeleteMessage", "ServiceUnavailable")
        del self.bodies[int(ReceiptHandle)]

    def change_message_visibility(
        self,
        ReceiptHandle: str,  # noqa: N803
        VisibilityTimeout: int,  # noqa: N803
        **_asked: str,
    ) -> None:
        self.changes.append(VisibilityTimeout)
        if VisibilityTimeout == 0:
            self._invisible.discard(int(ReceiptHandle))

    @property
    def visible(self) -> int:
        return len(self.bodies.keys() - self._invisible)


class FakeShard:
    """A shard of a table's stream, read in pages of these sizes, which can be 0.

    From the page `trimmed_at` on, records below the number `trimmed` are missing.
    """

    def __init__(
        self,
        records: Sequence[Record] = (),
        *,
        pages: Sequence[int] = (1000,),
        is_open: bool = False,
        trimmed: int = 0,
        trimmed_at: int = 0,
        error: str = "",
    ) -> None:
        self._records = list(records)
        self._sizes = itertools.cycle(pages)
        self._is_open = is_open
        self._trimmed = trimmed
        self._trimmed_at = trimmed_at
        self._error = error
        self._read = 0

    def get_shard_iterator(
        self,
        ShardIteratorType: str,  # noqa: N803
        SequenceNumber: str = "0",  # noqa: N803
        **_asked: str,
    ) -> dict[str, str]:
        if self._error:
            raise failed("GetShardIterator", self._error)
        if ShardIteratorType == "TRIM_HORIZON":
            kept = (i for i, record in enumerate(self._records) if not self._is_trimmed(record))
            return {"ShardIterator": str(next(kept, len(self._records)))}
        numbers = [each["dynamodb"]["SequenceNumber"] for each in self._records]
        position = numbers.index(SequenceNumber)
        self._require(position)
        return {"ShardIterator": str(position)}

    def get_records(self, ShardIterator: str) -> dict[str, Any]:  # noqa: N803
        position = int(ShardIterator)
        self._require(position)
        self._read += 1
        end = position + next(self._sizes)
        page: dict[str, Any] = {"Records": self._records[position:end]}
        if self._is_open or end < len(self._records):
            page["NextShardIterator"] = str(min(end, len(self._records)))
        return page

    def _require(self, position: int) -> None:
        if position < len(self._records) and self._is_trimmed(self._records[position]):
            raise failed("GetRecords", "TrimmedDataAccessException")

    def _is_trimmed(self, record: Record) -> bool:
        return self._read >= self._trimmed_at and number_of(record) < self._trimmed


class FakeLambda:
    """Runs the real event_publisher on a bus with one of `outcomes` per invocation."""

    def __init__(self, outcomes: Sequence[str] = ()) -> None:
        self.outcomes = list(outcomes)
        self.published: list[str] = []
        self.sizes: list[int] = []
        self.records: list[Record] = []
        self._is_half_way = False

    def invoke(self, FunctionName: str, Payload: str) -> dict[str, Any]:  # noqa: N803
        assert FunctionName == "EventPublisher"
        self.sizes.append(len(Payload.encode()))
        if self.sizes[-1] > LAMBDA_PAYLOAD:
            raise failed("Invoke", "RequestTooLargeException")
        outcome = self.outcomes.pop(0) if self.outcomes else "takes all"
        if outcome == "is throttled":
            raise failed("Invoke", "TooManyRequestsException")
        if outcome == "crashes":
            return self._response({"errorMessage": "out of memory"}, FunctionError="Unhandled")
        self._is_half_way = outcome == "takes half"
        batch = json.loads(Payload)
        self.records += batch["Records"]
        response = publisher.handler(batch, AContext())
        if outcome == "does not answer":
            raise ReadTimeoutError(endpoint_url="https://lambda")
        return self._response(response)

    def put_events(self, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803
        return {"Entries": [self._take(n, entry) for n, entry in enumerate(Entries)]}

    def _take(self, index: int, entry: Mapping[str, Any]) -> dict[str, str]:
        if self._is_half_way and index % 2 == 0:
            return {"ErrorCode": "ThrottlingException"}
        self.published.append(json.loads(entry["Detail"])["metadata"]["event_id"])
        return {"EventId": "id"}

    def _response(self, result: Any, **more: str) -> dict[str, Any]:
        return {"Payload": io.BytesIO(json.dumps(result).encode()), **more}


class FakeStack:
    """A stack of these parts; it records the options of its clients."""

    def __init__(self, queue: FakeQueue, shard: FakeShard, function: FakeLambda) -> None:
        self.outputs = {
            "DeadLetterQueueUrl": "queue",
            "EventPublisherName": "EventPublisher",
            "TableName": "table",
        }
        self.options: dict[str, dict[str, Any]] = {}
        self.items: dict[str, Any] = {}
        self._clients = {
            "sqs": queue, "dynamodbstreams": shard, "lambda": function, "dynamodb": self
        }  # fmt: skip

    def client(self, service: str, **options: Any) -> Any:
        self.options[service] = options
        return self._clients[service]

    def get_item(self, Key: Any, **_asked: Any) -> dict[str, Any]:  # noqa: N803
        item = self.items.get(Key["pk"]["S"])
        return {"Item": item} if item else {}


@contextmanager
def deployed(function: FakeLambda) -> Iterator[None]:
    """Set up the publisher as the template does, except for the bus."""
    bus = Bus(cast("Any", function), "rooms", sleep=lambda _seconds: None)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment("EventPublisher").items():
            patch.setenv(name, value)
        patch.setattr(publisher, "_bus", lambda: bus)
        yield


def run(
    queue: FakeQueue,
    shard: FakeShard | None = None,
    function: FakeLambda | None = None,
    *,
    items: Mapping[str, Any] | None = None,
    clock: Callable[[], float] = lambda: 0.0,
) -> tuple[int, list[str]]:
    function = function or FakeLambda()
    stack = FakeStack(queue, shard or FakeShard(), function)
    stack.items |= items or {}
    with deployed(function):
        return redrive.redrive(cast("Stack", stack), clock)


# --- records and notes ----------------------------------------------------------------------------


def number_of(record: Record) -> int:
    return int(record["dynamodb"]["SequenceNumber"])


def as_read(record: Record, number: int) -> Record:
    """Return a record as GetRecords returns it."""
    change = {"ApproximateCreationDateTime": NOON, "SequenceNumber": str(number)}
    return {**record, "dynamodb": {**record["dynamodb"], **change}}


def recording(key: str, *, filler: int = 0) -> Record:
    item = {
        "pk": {"S": f"RECORDING#{key}"},
        "recording_id": {"S": key},
        "session_id": {"S": "session"},
        "room_id": {"S": "room"},
        "seen": {"SS": ["recording:started"]},
        **({"filler": {"S": "x" * filler}} if filler else {}),
    }
    return a_record(item)


def outbox(key: str) -> Record:
    item = {"pk": {"S": f"EVENT#{key}"}, "event": {"S": "room:expired"}}
    return a_record({**item, "detail": {"S": json.dumps({"room_id": key})}})


def expired(key: str) -> Record:
    return recording(key) | {"eventName": "REMOVE"}


def rewritten(key: str) -> Record:
    return outbox(key) | {"eventName": "MODIFY"}


def of_another_kind(key: str) -> Record:
    return a_record({"pk": {"S": f"ROOM#{key}"}, "blob": {"S": "x"}})


MADE: Mapping[str, Callable[[str], Record]] = {
    "recording": recording,
    "large recording": lambda key: recording(key, filler=700_000),
    "outbox": outbox,
    "expired": expired,
    "rewritten": rewritten,
    "of another kind": of_another_kind,
}


def note(first: int, last: int, **changes: Any) -> dict[str, Any]:
    """Return Lambda's failure record of a batch; batchSize counts the filtered records."""
    info = {
        "streamArn": STREAM,
        "shardId": "shardId-1",
        "startSequenceNumber": str(first),
        "endSequenceNumber": str(last),
        "approximateArrivalOfFirstRecord": "2026-11-25T10:00:00Z",
        "approximateArrivalOfLastRecord": "2026-11-25T10:05:00Z",
        "batchSize": 1,
    }
    return {"requestContext": {}, "DDBStreamBatchInfo": info | changes}


def ids(records: Sequence[Record]) -> set[str]:
    """Return the ids of the events for the records that pass the filter."""
    taken = [as_handed_over(record) for record in records if lets_through(record)]
    return {event.metadata.event_id for record in taken for event in events_due(record)}


def as_handed_over(record: Record) -> Record:
    change = {"ApproximateCreationDateTime": NOON.timestamp()}
    return {**record, "dynamodb": {**record["dynamodb"], **change}}


# --- the promise ----------------------------------------------------------------------------------


class Case(Struct, frozen=True, kw_only=True):
    """A range of a stream, how it is read, and the publisher's outcomes."""

    kinds: Sequence[str]
    first: int = 98
    """The first sequence number, near a power of ten, where text order differs."""
    start: int = 0
    """The indices of the range's first and last record; -1 is the last index."""
    end: int = -1
    pages: Sequence[int] = (1000,)
    is_open: bool = False
    trimmed: int = 0
    """The number of expired records, and the page from which they are missing."""
    trimmed_at: int = 0
    outcomes: Sequence[str] = ()

    @property
    def records(self) -> list[Record]:
        made = (MADE[kind](str(n)) for n, kind in enumerate(self.kinds))
        return [as_read(record, self.first + n) for n, record in enumerate(made)]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(1, 24))
    start = draw(st.integers(0, count - 1))
    return Case(
        kinds=draw(st.lists(st.sampled_from([*MADE]), min_size=count, max_size=count)),
        first=draw(st.sampled_from([1, 98, 990])),
        start=start,
        end=draw(st.integers(start, count - 1)),
        pages=draw(st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any)),
        is_open=draw(st.booleans()),
        trimmed=draw(st.just(0) | st.integers(0, count)),
        trimmed_at=draw(st.integers(0, 3)),
        outcomes=draw(
            st.lists(
                st.sampled_from(
                    ["takes all", "takes half", "crashes", "is throttled", "does not answer"]
                ),
                max_size=4,
            )
        ),
    )


@given(cases())
@example(Case(kinds=["recording"] * 30, pages=[0, 0, 3]))
@example(Case(kinds=["expired"] * 3 + ["recording"]))
@example(Case(kinds=["large recording"] * 10))
@example(Case(kinds=["large recording"] * 18, outcomes=["takes all", "takes half"]))
@example(Case(kinds=["recording"] * 5, trimmed=3))
@example(Case(kinds=["recording"] * 5, pages=[2], trimmed=5, trimmed_at=1))
def test_a_message_is_deleted_only_if_all_its_events_are_published(case: Case) -> None:
    """Run redrive twice for any stream and publisher: with the failures, then without."""
    records = case.records
    asked = records[case.start : case.end + 1 or None]
    trimmed = case.first + case.trimmed
    queue = FakeQueue(note(number_of(asked[0]), number_of(asked[-1])))
    function = FakeLambda(case.outcomes)

    for is_last in (False, True):
        shard = FakeShard(
            records,
            pages=case.pages,
            is_open=case.is_open,
            trimmed=trimmed if case.trimmed else 0,
            trimmed_at=0 if is_last else case.trimmed_at,
        )
        _, reasons = run(queue, shard, function)

        assert len(reasons) == len(queue.bodies)
        assert queue.visible == len(queue.bodies)
        assert {*function.published} <= ids(asked)
        if not queue.bodies:
            assert {*function.published} == ids(asked)
        assert max(function.sizes, default=0) <= LAMBDA_PAYLOAD
        function.outcomes.clear()

    kept = [record for record in asked if number_of(record) >= trimmed or not case.trimmed]
    assert ids(kept) <= {*function.published}
    if len(kept) == len(asked):
        assert not queue.bodies


# --- the stream -----------------------------------------------------------------------------------


def test_records_behind_the_range_are_not_published() -> None:
    records = [as_read(recording(str(n)), n) for n in range(8, 13)]
    function = FakeLambda()
    assert run(FakeQueue(note(9, 10)), FakeShard(records), function) == (1, [])
    assert {*function.published} == ids(records[1:3])


def test_a_shard_that_ends_before_the_range_does_keeps_the_message() -> None:
    queue = FakeQueue(note(1, 3))
    sent, [reason] = run(queue, FakeShard([as_read(recording("1"), 1)]))
    assert (sent, queue.visible) == (0, 1)
    assert "no longer has all records written from 2026-11-25T10:00:00Z" in reason


def test_a_range_that_is_never_reached_does_not_block_redrive() -> None:
    queue = FakeQueue(note(1, 3), {"record": recording("2")})
    sent, reasons = run(queue, FakeShard([as_read(recording("1"), 1)], is_open=True))
    assert (sent, len(reasons), queue.visible) == (1, 1, 1)
    assert reasons[0].startswith("message 0: the stream keeps records for 24 hours")


@pytest.mark.parametrize("code", ["TrimmedDataAccessException", "ResourceNotFoundException"])
def test_a_message_with_expired_records_is_reported_with_what_to_do(code: str) -> None:
    queue = FakeQueue(note(1, 2))
    sent, [reason] = run(queue, FakeShard(error=code))
    assert (sent, queue.visible) == (0, 1)
    assert "2026-11-25T10:00:00Z to 2026-11-25T10:05:00Z" in reason
    assert "publish them by their keys, then delete the message" in reason


def test_a_stream_that_cannot_be_read_just_now_keeps_the_message_to_be_tried_again() -> None:
    sent, [reason] = run(FakeQueue(note(1, 2)), FakeShard(error="ThrottlingException"))
    assert sent == 0
    assert "ThrottlingException" in reason
    assert reason.endswith("run make redrive again")


def test_bytes_are_handed_over_as_lambda_does() -> None:
    function = FakeLambda()
    record = as_read(of_another_kind("1"), 1)
    record["dynamodb"]["NewImage"]["blob"] = {"B": b"\xff"}
    assert run(FakeQueue(note(1, 1)), FakeShard([record]), function) == (1, [])
    [handed_over] = function.records
    assert handed_over["dynamodb"]["NewImage"]["blob"] == {"B": base64.b64encode(b"\xff").decode()}
    assert handed_over["dynamodb"]["ApproximateCreationDateTime"] == NOON.timestamp()


# --- invocations ----------------------------------------------------------------------------------


def test_no_invocation_gets_more_records_than_the_event_source_hands_over() -> None:
    [source] = properties("EventPublisher")["Events"].values()
    assert source["Properties"]["BatchSize"] == redrive.MAX_RECORDS
    records = [as_read(recording(str(n)), n) for n in range(1, 251)]
    function = FakeLambda()
    assert run(FakeQueue(note(1, 250)), FakeShard(records), function) == (1, [])
    assert len(function.sizes) == 3


def test_records_beyond_lambdas_limit_are_sent_in_batches() -> None:
    records = [as_read(recording(str(n), filler=390_000), n) for n in range(1, 31)]
    function = FakeLambda()
    assert run(FakeQueue(note(1, 30)), FakeShard(records), function) == (1, [])
    assert sum(function.sizes) > LAMBDA_PAYLOAD
    assert max(function.sizes) <= LAMBDA_PAYLOAD


def test_the_largest_record_fits_into_one_invocation() -> None:
    largest = "\x01" * 400_000  # of the characters that are longest when escaped
    record = {"dynamodb": {"NewImage": largest, "OldImage": largest}}
    [batch] = redrive._batches([record])
    assert len(batch[0]) < redrive.MAX_PAYLOAD_BYTES


def test_the_invocation_timeout_exceeds_the_functions_and_nothing_is_retried() -> None:
    function = FakeLambda()
    stack = FakeStack(FakeQueue({"record": recording("1")}), FakeShard(), function)
    with deployed(function):
        redrive.redrive(cast("Stack", stack))
    config = stack.options["lambda"]["config"]
    cold_start = 10  # seconds that Lambda gives a function to start, beside its timeout
    assert config.read_timeout > properties("EventPublisher")["Timeout"] + cold_start
    assert config.retries == {"total_max_attempts": 1}


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ("takes half", "still cannot publish its events"),
        ("crashes", "event_publisher failed: out of memory"),
        ("is throttled", "TooManyRequestsException"),
        ("does not answer", "Read timeout"),
    ],
)
def test_if_the_publisher_fails_the_message_stays_and_the_reason_is_printed(
    outcome: str, reason: str
) -> None:
    queue = FakeQueue({"record": recording("1")}, {"record": recording("2")})
    sent, [message] = run(queue, function=FakeLambda([outcome]))
    assert reason in message
    assert (sent, queue.visible) == (1, 1)


def test_events_published_before_a_failure_are_published_again_with_the_same_ids() -> None:
    records = [as_read(recording(str(n)), n) for n in range(1, 151)]
    queue, function = FakeQueue(note(1, 150)), FakeLambda(["takes all", "crashes"])
    assert run(queue, FakeShard(records), function)[0] == 0
    first = [*function.published]
    assert run(queue, FakeShard(records), function) == (1, [])
    assert function.published == [*first, *first, *function.published[200:]]
    assert {*function.published} == ids(records)


# --- the queue ------------------------------------------------------------------------------------


def test_a_message_stays_invisible_for_as_long_as_it_is_worked_on() -> None:
    seconds = itertools.count(step=redrive.READ_TIMEOUT)
    records = [as_read(recording(str(n)), n) for n in range(1, 401)]
    queue = FakeQueue(note(1, 400))
    assert run(queue, FakeShard(records), clock=lambda: float(next(seconds))) == (1, [])
    assert len(queue.changes) >= 4
    assert {*queue.changes} == {redrive.VISIBILITY_SECONDS}
    assert redrive.RENEW_SECONDS + redrive.READ_TIMEOUT < redrive.VISIBILITY_SECONDS


def test_an_interrupted_redrive_leaves_its_message_visible() -> None:
    class Interrupted(FakeLambda):
        def invoke(self, FunctionName: str, Payload: str) -> dict[str, Any]:  # noqa: N803
            raise KeyboardInterrupt(FunctionName, len(Payload))

    queue = FakeQueue({"record": recording("1")})
    with pytest.raises(KeyboardInterrupt):
        run(queue, function=Interrupted())
    assert queue.visible == 1


def test_a_message_that_cannot_be_deleted_is_reported() -> None:
    queue = FakeQueue({"record": recording("1")})
    queue.is_broken = True
    sent, [reason] = run(queue)
    assert (sent, queue.visible) == (0, 1)
    assert "DeleteMessage" in reason


@pytest.mark.parametrize(
    "body",
    [
        "no JSON",
        "[]",
        {"what": "is this"},
        {"DDBStreamBatchInfo": {}},
        {"DDBStreamBatchInfo": None},
        note(1, 2, endSequenceNumber="last"),
    ],
    ids=str,
)
def test_an_unknown_message_stays_and_does_not_block_others(body: Any) -> None:
    queue = FakeQueue(body, {"record": recording("1")})
    sent, [reason] = run(queue)
    assert (sent, queue.visible) == (1, 1)
    assert "failure record" in reason or "JSON" in reason


def test_the_text_of_a_message_is_printed_escaped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any principal that may send to the queue chooses it."""
    stack = FakeStack(FakeQueue({"key": "EVENT#\x1b[2J"}), FakeShard(), FakeLambda())
    monkeypatch.setattr(redrive, "deployed_stack", lambda _name: stack)
    monkeypatch.setattr("sys.argv", ["redrive"])
    assert redrive.main() == 1
    assert r"EVENT#\x1b[2J" in capsys.readouterr().err


def test_a_messages_key_publishes_the_current_item_under_the_same_ids() -> None:
    item = recording("1")["dynamodb"]["NewImage"]
    function = FakeLambda()
    assert run(FakeQueue({"key": "RECORDING#1"}), function=function, items={"RECORDING#1": item})
    assert {*function.published} == ids([recording("1")])


def test_a_messages_key_publishes_the_other_events_of_a_recording_whose_copy_was_deleted() -> None:
    item = recording("1")["dynamodb"]["NewImage"]
    item["seen"] = {"SS": ["recording:started", "recording:copied"]}
    function, queue = FakeLambda(), FakeQueue({"key": "RECORDING#1"})
    assert run(queue, function=function, items={"RECORDING#1": item}) == (1, [])
    assert {*function.published} == ids([recording("1")])


def test_redrive_ends_although_messages_that_stay_become_visible_again() -> None:
    """Thousands of messages take longer than a message stays invisible."""

    class Impatient(FakeQueue):
        received = 0

        def receive_message(self, **_asked: Any) -> dict[str, Any]:
            self.received += 1
            assert self.received < 100
            name = str(self.received % len(self.bodies))
            message = {"MessageId": name, "ReceiptHandle": name, "Body": self.bodies[int(name)]}
            return {"Messages": [message]}

    queue = Impatient(*["no JSON"] * 10)
    sent, reasons = run(queue)
    assert (sent, len(reasons)) == (0, 10)
