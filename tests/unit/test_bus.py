import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.testing.builders import NOON
from local.testing.sdk import OUTAGES
from roomkeeper.aws import AwsError
from roomkeeper.aws.bus import ATTEMPTS, PUBLISH_TIMEOUT, RETRY, Bus, Failure
from roomkeeper.domain.events import Event, Metadata, Unrecognized

Entry = Mapping[str, Any]
LIMIT = 256 * 1024
ACCEPTED = {"EventId": "11710aed-b79e-4468-a20b-bb3c0c3b4860"}
THROTTLED = {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"}
REFUSED = {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}


class FakeEventBridge:
    """An EventBridge client with scripted responses; it records the accepted entries.

    `response` returns the one to an entry, given the event's key and the number of its attempts.
    `outages` are raised first, one per call.
    """

    def __init__(
        self,
        response: Callable[[str, int], dict[str, str]] = lambda _key, _times: ACCEPTED,
        outages: Sequence[Exception] = (),
    ) -> None:
        self._response, self._outages = response, list(outages)
        self.calls: list[Sequence[Entry]] = []
        self.sent_keys: list[str] = []
        self.on_the_bus: list[str] = []

    def put_events(self, Entries: Sequence[Entry]) -> dict[str, Any]:  # noqa: N803
        self.calls.append(Entries)
        if self._outages:
            raise self._outages.pop(0)
        responses = [self._take(json.loads(entry["Detail"])["data"]["key"]) for entry in Entries]
        failed = sum("ErrorCode" in response for response in responses)
        return {"FailedEntryCount": failed, "Entries": responses}

    def _take(self, key: str) -> dict[str, str]:
        self.sent_keys.append(key)
        response = self._response(key, self.sent_keys.count(key))
        if response == ACCEPTED:
            self.on_the_bus.append(key)
        return response


def an_event(key: str = "EVENT#1", *, size: int = 0) -> Event:
    """Return an event; `size` is its size in bytes for EventBridge."""
    metadata = Metadata(event_id="id", occurred_at=NOON, received_at=NOON)

    def made(filler: str) -> Event:
        data = Unrecognized(product="meetings", key=key, reason=filler)
        return Event(name="callback:unrecognized", metadata=metadata, data=data)

    return made("x" * max(0, size - size_of(made(""))))


def size_of(event: Event) -> int:
    """Return an entry's size by "Calculating event entry size" in EventBridge's guide."""
    return len("roomkeeper") + len(event.name) + len(event.detail().encode())


def publish(client: Any, events: Sequence[Event]) -> dict[int, Failure]:
    return Bus(client, "rooms", sleep=lambda _seconds: None).publish(events)


def keys(entries: Sequence[Entry]) -> list[str]:
    return [json.loads(entry["Detail"])["data"]["key"] for entry in entries]


def sizes(client: FakeEventBridge) -> list[int]:
    return [len(call) for call in client.calls]


# --- what is sent ---------------------------------------------------------------------------------


def test_an_entry_has_no_time_so_that_eventbridge_sets_it() -> None:
    client, event = FakeEventBridge(), an_event()
    assert publish(client, [event]) == {}
    assert client.calls == [
        [
            {
                "EventBusName": "rooms",
                "Source": "roomkeeper",
                "DetailType": "callback:unrecognized",
                "Detail": event.detail(),
            }
        ]
    ]


def test_no_events_make_no_call() -> None:
    client = FakeEventBridge()
    assert publish(client, []) == {}
    assert client.calls == []


def test_events_are_sent_in_order_ten_per_call() -> None:
    client, names = FakeEventBridge(), [str(n) for n in range(25)]
    assert publish(client, [an_event(name) for name in names]) == {}
    assert client.on_the_bus == names
    assert sizes(client) == [10, 10, 5]


@pytest.mark.parametrize(
    ("bytes_each", "calls"),
    [
        ([LIMIT // 2, LIMIT // 2], [2]),
        ([LIMIT // 2, LIMIT // 2 + 1], [1, 1]),
        ([LIMIT, LIMIT], [1, 1]),
        ([LIMIT - 1000, 1000, 1000], [2, 1]),
        ([LIMIT // 4] * 9, [4, 4, 1]),
    ],
)
def test_no_call_exceeds_the_size_limit(bytes_each: list[int], calls: list[int]) -> None:
    client = FakeEventBridge()
    assert publish(client, [an_event(size=size) for size in bytes_each]) == {}
    assert sizes(client) == calls


@given(st.lists(st.integers(0, LIMIT + 10), max_size=30))
def test_every_call_is_within_the_limits_for_any_sizes(bytes_each: list[int]) -> None:
    client = FakeEventBridge()
    events = [an_event(str(n), size=size) for n, size in enumerate(bytes_each)]
    failures = publish(client, events)
    for call in client.calls:
        assert len(call) <= 10
        assert sum(size_of(events[int(key)]) for key in keys(call)) <= LIMIT
    sent = [str(n) for n, event in enumerate(events) if size_of(event) <= LIMIT]
    assert client.on_the_bus == sent
    assert set(failures) == {n for n in range(len(events)) if str(n) not in sent}


def test_an_event_that_is_too_large_is_refused_without_a_call_and_does_not_block_others() -> None:
    client = FakeEventBridge()
    failures = publish(client, [an_event("a"), an_event("b", size=LIMIT + 1), an_event("c")])
    assert failures == {1: Failure("refused", "The event has more than 262144 bytes.")}
    assert client.on_the_bus == ["a", "c"]


def test_sizes_are_in_bytes_and_not_characters() -> None:
    snow = "\N{SNOWMAN}" * (LIMIT // 3)
    assert publish(FakeEventBridge(), [an_event(snow)])[0].kind == "refused"


# --- what fails in part ---------------------------------------------------------------------------


def test_only_failed_entries_are_sent_again() -> None:
    client = FakeEventBridge(
        lambda key, times: THROTTLED if key in {"3", "12"} and times == 1 else ACCEPTED
    )
    assert publish(client, [an_event(str(n)) for n in range(15)]) == {}
    assert sizes(client) == [10, 5, 2]
    assert keys(client.calls[-1]) == ["3", "12"]
    assert sorted(client.on_the_bus, key=int) == [str(n) for n in range(15)]


def test_entries_that_keep_failing_are_returned_by_their_index() -> None:
    client = FakeEventBridge(lambda key, _times: THROTTLED if key in {"1", "11"} else ACCEPTED)
    failures = publish(client, [an_event(str(n)) for n in range(12)])
    unavailable = Failure("unavailable", "ThrottlingException: Rate exceeded")
    assert failures == {1: unavailable, 11: unavailable}
    assert [client.sent_keys.count(key) for key in ("0", "1", "11")] == [1, ATTEMPTS, ATTEMPTS]


def test_refused_entries_are_not_sent_again() -> None:
    client = FakeEventBridge(lambda key, _times: REFUSED if key == "1" else ACCEPTED)
    failures = publish(client, [an_event("0"), an_event("1")])
    assert failures == {1: Failure("refused", "MalformedDetail: Detail is malformed.")}
    assert client.sent_keys == ["0", "1"]


def test_refused_and_unavailable_events_are_distinguished() -> None:
    responses = {"0": REFUSED, "1": THROTTLED}
    client = FakeEventBridge(lambda key, _times: responses.get(key, ACCEPTED))
    failures = publish(client, [an_event("0"), an_event("1"), an_event("2")])
    assert {index: failure.kind for index, failure in failures.items()} == {
        0: "refused",
        1: "unavailable",
    }
    assert client.sent_keys == ["0", "1", "2", "1", "1"]


@pytest.mark.parametrize("code", ["ValidationException", "SerializationException"])
def test_an_entry_that_invalidates_a_call_is_refused_and_does_not_block_others(
    code: str,
) -> None:
    class Strict(FakeEventBridge):
        def put_events(self, Entries: Sequence[Entry]) -> dict[str, Any]:  # noqa: N803
            if "1" in keys(Entries):
                raise AwsError(code, "no")
            return super().put_events(Entries)

    client = Strict()
    failures = publish(client, [an_event(str(n)) for n in range(12)])
    assert {index: failure.kind for index, failure in failures.items()} == {1: "refused"}
    assert sorted(client.on_the_bus, key=int) == [str(n) for n in range(12) if n != 1]


def test_an_entry_that_failed_may_be_refused_at_the_next_attempt() -> None:
    client = FakeEventBridge(lambda _key, times: THROTTLED if times == 1 else REFUSED)
    assert publish(client, [an_event()])[0].kind == "refused"
    assert len(client.calls) == 2


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ThrottlingException", "unavailable"),
        ("InternalFailure", "unavailable"),
        ("InternalException", "unavailable"),
        ("ServiceUnavailable", "unavailable"),
        ("AccessDeniedException", "unavailable"),
        ("NotAuthorizedForSourceException", "unavailable"),
        ("NotAuthorizedForDetailTypeException", "refused"),
        ("MalformedDetail", "refused"),
        ("InvalidArgument", "refused"),
    ],
)
def test_the_error_code_decides_whether_an_entry_is_retried(code: str, kind: str) -> None:
    client = FakeEventBridge(lambda _key, _times: {"ErrorCode": code})
    assert publish(client, [an_event()])[0] == Failure(kind, f"{code}: no message")  # type: ignore[arg-type]


# --- what fails as a whole ------------------------------------------------------------------------


@pytest.mark.parametrize("outage", OUTAGES, ids=repr)
def test_after_a_failed_call_no_other_is_made(outage: Exception) -> None:
    """The client has retried the call already."""
    client = FakeEventBridge(outages=[outage])
    failures = publish(client, [an_event(str(n)) for n in range(25)])
    assert failures == dict.fromkeys(range(25), Failure("unavailable", str(outage)))
    assert sizes(client) == [10]


def test_entries_sent_before_a_failed_call_are_not_returned_as_failed() -> None:
    class Breaking(FakeEventBridge):
        def put_events(self, Entries: Sequence[Entry]) -> dict[str, Any]:  # noqa: N803
            if "10" in keys(Entries):
                raise OUTAGES[0]
            return super().put_events(Entries)

    client = Breaking(lambda key, _times: {"3": THROTTLED, "4": REFUSED}.get(key, ACCEPTED))
    failures = publish(client, [an_event(str(n)) for n in range(25)])
    kinds = {index: failure.kind for index, failure in failures.items()}
    assert kinds == {3: "unavailable", 4: "refused", **dict.fromkeys(range(10, 25), "unavailable")}
    assert len(client.on_the_bus) == 8


def test_no_call_starts_after_the_publish_timeout() -> None:
    seconds: list[float] = []

    class Slow(FakeEventBridge):
        def put_events(self, Entries: Sequence[Entry]) -> dict[str, Any]:  # noqa: N803
            seconds.append(RETRY.worst_case)
            return super().put_events(Entries)

    client = Slow()
    events = [an_event(str(n)) for n in range(100)]
    slow_bus: Any = client
    failures = Bus(slow_bus, "rooms", sleep=seconds.append, clock=lambda: sum(seconds)).publish(
        events
    )

    assert failures == dict.fromkeys(
        range(20, 100), Failure("unavailable", "There was no time left to send it.")
    )
    assert sum(seconds) < PUBLISH_TIMEOUT + RETRY.worst_case


# --- pauses ---------------------------------------------------------------------------------------


def pauses(client: Any) -> list[float]:
    taken: list[float] = []
    Bus(client, "rooms", sleep=taken.append).publish([an_event()])
    return taken


def test_there_is_a_short_delay_before_each_retry() -> None:
    [first, second] = pauses(FakeEventBridge(lambda _key, _times: THROTTLED))
    assert 0 <= first <= 0.2
    assert 0 <= second <= 0.4


@pytest.mark.parametrize("response", [ACCEPTED, REFUSED], ids=["accepted", "refused"])
def test_there_is_no_delay_without_a_retry(response: dict[str, str]) -> None:
    assert pauses(FakeEventBridge(lambda _key, _times: response)) == []
