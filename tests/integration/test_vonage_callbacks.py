"""The emulator's callbacks, as received over HTTP."""

import json
import socket
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from local.vonage import VonageControl
from roomkeeper.callbacks.authenticity import SignatureRules, Unauthorized, require_authentic
from roomkeeper.callbacks.meetings import parse
from roomkeeper.domain.observations import Unrecognized
from tests.integration.vonage_support import ReceivedRequest, in_turn, reply, scripted
from tests.support.vonage_samples import CALLBACK_FIELDS

SECRET = "the signature secret of the account"


def events(received: list[ReceivedRequest]) -> list[str]:
    return [json.loads(each.body)["event"] for each in received]


def accepted(handler: BaseHTTPRequestHandler, _request: ReceivedRequest) -> None:
    reply(handler, 204)


def seconds_ahead(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_every_callback_has_exactly_the_published_fields(emulator: VonageControl) -> None:
    room_id = emulator.create_room(expires_at=seconds_ahead(3600))["id"]
    with scripted(accepted) as receiver:
        emulator.callbacks_to(f"{receiver.url}/callbacks/a-token")
        emulator.hold_meeting(room_id, recordings=2)
        emulator.advance_clock(3600)
    bodies = [json.loads(each.body) for each in receiver.received]
    assert {body["event"]: set(body) - {"event"} for body in bodies} == CALLBACK_FIELDS
    assert {each.path for each in receiver.received} == {"/callbacks/a-token"}
    assert {each.headers["content-type"] for each in receiver.received} == {"application/json"}


def test_every_callback_is_one_that_the_intake_understands(emulator: VonageControl) -> None:
    emulator.create_room()
    with scripted(accepted) as receiver:
        emulator.callbacks_to(receiver.url)
        emulator.hold_meeting(rename={"recording:uploaded": "recording:ready"})
        emulator.advance_clock(600)
    understood = [parse(each.body) for each in receiver.received]
    assert not [each for each in understood if isinstance(each, Unrecognized)]
    assert {each.event for each in understood} == set(CALLBACK_FIELDS)


def test_a_meetings_callbacks_are_sent_in_order_and_recorded(emulator: VonageControl) -> None:
    with scripted(accepted) as receiver:
        emulator.callbacks_to(receiver.url)
        meeting = emulator.hold_meeting()
    assert [json.loads(each.body) for each in receiver.received] == meeting["callbacks"]
    noted = emulator.deliveries()
    assert [each["body"] for each in noted] == meeting["callbacks"]
    assert {each["status"] for each in noted} == {204}
    assert all(each["delivered"] and len(each["attempts"]) == 1 for each in noted)


def test_callbacks_are_lost_repeated_and_shuffled_as_configured(emulator: VonageControl) -> None:
    with scripted(accepted) as receiver:
        emulator.callbacks_to(receiver.url)
        emulator.hold_meeting(
            participants=[],
            repeat={"recording:uploaded": 2},
            drop={"recording:started"},
            order=["recording:uploaded", "session:ended"],
        )
        emulator.hold_meeting(deliver=False)
        first = emulator.hold_meeting(shuffle_seed=3, recordings=3)["callbacks"]
    assert events(receiver.received)[:6] == [
        *["recording:uploaded"] * 3,
        "session:ended",
        "session:started",
        "recording:ended",
    ]
    assert events(receiver.received)[6:] == [body["event"] for body in first]
    in_order = sorted(first, key=lambda body: body["event"].startswith("session:ended"))
    assert first != in_order


def test_a_delayed_callback_arrives_later(emulator: VonageControl) -> None:
    arrived: list[datetime] = []

    def clocked(handler: BaseHTTPRequestHandler, _request: ReceivedRequest) -> None:
        arrived.append(datetime.now(UTC))
        reply(handler, 204)

    with scripted(clocked) as receiver:
        emulator.callbacks_to(receiver.url)
        emulator.hold_meeting(participants=[], delay={"recording:uploaded": 0.3})
    assert arrived[-1] - arrived[-2] >= timedelta(seconds=0.3)


@pytest.mark.parametrize("secret", [SECRET, "x"])
def test_a_signature_is_one_that_the_intake_accepts(emulator: VonageControl, secret: str) -> None:
    with scripted(accepted) as receiver:
        emulator.callbacks_to(receiver.url, signature_secret=secret)
        emulator.hold_meeting()
    tokens = [each.headers["authorization"] for each in receiver.received]
    assert len(set(tokens)) == len(tokens)
    for each in receiver.received:
        check_signature(each.body, each.headers["authorization"], secret)
    with pytest.raises(Unauthorized):
        check_signature(b"{}", tokens[0], secret)
    with pytest.raises(Unauthorized):
        check_signature(receiver.received[0].body, tokens[0], "another secret, of another account")


def check_signature(body: bytes, authorization: str, secret: str) -> None:
    require_authentic(
        body,
        token=None,
        authorization=authorization,
        tokens=[],
        signature_secrets=[secret],
        rules=SignatureRules(max_age=timedelta(minutes=5)),
    )


def test_extra_headers_are_sent_with_every_callback(emulator: VonageControl) -> None:
    with scripted(accepted) as receiver:
        emulator.callbacks_to(receiver.url, headers={"Host": "abc.execute-api.localhost"})
        emulator.hold_meeting()
    assert {each.headers["host"] for each in receiver.received} == {"abc.execute-api.localhost"}
    assert all("authorization" not in each.headers for each in receiver.received)


def test_kinds_and_rooms_can_have_urls_of_their_own(emulator: VonageControl) -> None:
    with scripted(accepted) as one, scripted(accepted) as two, scripted(accepted) as own:
        emulator.callbacks_to(one.url, kinds=["recordings", "rooms"])
        emulator.callbacks_to(two.url, kinds=["sessions"])
        emulator.hold_meeting()
        room = emulator.create_room(callback_urls={"recordings_callback_url": own.url})
        emulator.hold_meeting(room["id"])
        emulator.advance_clock(1200)
    assert events(one.received) == [
        "recording:started",
        "recording:ended",
        "recording:uploaded",
        "room:expired",
    ]
    assert {event.partition(":")[0] for event in events(two.received)} == {"session"}
    assert events(own.received) == ["recording:started", "recording:ended", "recording:uploaded"]


def test_a_callback_is_retried_until_it_is_accepted(emulator: VonageControl) -> None:
    emulator.settings(backoff=0.01)
    with scripted(in_turn([500, 429, 503])) as receiver:
        emulator.callbacks_to(receiver.url)
        delivery = emulator.send_callback({"event": "recording:started"})
    assert [attempt["status"] for attempt in delivery["attempts"]] == [500, 429, 503, 204]
    assert delivery["delivered"]
    assert len({each.body for each in receiver.received}) == 1


def test_a_rejected_callback_is_not_retried(emulator: VonageControl) -> None:
    def refuse(handler: BaseHTTPRequestHandler, _request: ReceivedRequest) -> None:
        reply(handler, 401, b"who are you")

    with scripted(refuse) as receiver:
        emulator.callbacks_to(receiver.url)
        delivery = emulator.send_callback({"event": "recording:started"})
    assert (delivery["status"], delivery["delivered"]) == (401, False)
    assert [attempt["answer"] for attempt in delivery["attempts"]] == ["who are you"]


def test_a_callback_is_given_up_in_the_end(emulator: VonageControl) -> None:
    emulator.settings(backoff=0.01, attempts=3)
    with scripted(in_turn([503] * 10)) as receiver:
        emulator.callbacks_to(receiver.url)
        delivery = emulator.send_callback({"event": "recording:started"})
    assert (len(delivery["attempts"]), delivery["delivered"]) == (3, False)


def test_a_slow_or_unreachable_receiver_is_retried(emulator: VonageControl) -> None:
    emulator.settings(backoff=0.01, attempts=2, timeout=1)
    hang = threading.Event()

    def late_at_first(handler: BaseHTTPRequestHandler, received: ReceivedRequest) -> None:
        if received.connection == 1:
            hang.wait(30)
        reply(handler, 204)

    with scripted(late_at_first) as receiver:
        emulator.callbacks_to(receiver.url)
        delivery = emulator.send_callback({"event": "recording:started"})
        hang.set()
    assert [attempt["error"] for attempt in delivery["attempts"]] == ["ReadTimeout", None]
    assert delivery["delivered"]
    with socket.create_server(("127.0.0.1", 0)) as closed:
        emulator.callbacks_to(f"http://127.0.0.1:{closed.getsockname()[1]}")
    gone = emulator.send_callback({"event": "recording:started"})
    assert [attempt["error"] for attempt in gone["attempts"]] == ["ConnectionError"] * 2


def test_without_a_target_a_callback_is_recorded_but_not_sent(emulator: VonageControl) -> None:
    emulator.hold_meeting(participants=[])
    assert [each["attempts"] for each in emulator.deliveries()] == [[]] * 5


# --- expiry ---------------------------------------------------------------------------------------


def test_an_expired_room_sends_one_callback(emulator: VonageControl) -> None:
    room = emulator.create_room()
    emulator.create_room(expires_at="2020-01-01T00:00:00Z")  # ended before the receiver was set
    with scripted(accepted) as receiver:
        emulator.callbacks_to(receiver.url)
        emulator.advance_clock(590)
        assert receiver.received == []
        for _ in range(3):
            emulator.advance_clock(20)
    assert [json.loads(each.body) for each in receiver.received] == [
        {
            "event": "room:expired",
            "room_id": room["id"],
            "room_type": "instant",
            "expires_at": room["expires_at"],
            "created_at": room["created_at"],
        }
    ]


def test_a_room_expires_at_its_expiry_time(emulator: VonageControl) -> None:
    responded = threading.Event()

    def respond(handler: BaseHTTPRequestHandler, _request: ReceivedRequest) -> None:
        reply(handler, 204)
        responded.set()

    with scripted(respond) as receiver:
        emulator.callbacks_to(receiver.url)
        emulator.create_room(expires_at=seconds_ahead(1))
        assert responded.wait(30)
    assert events(receiver.received) == ["room:expired"]


# --- much at once ---------------------------------------------------------------------------------


def test_callbacks_of_many_meetings_are_sent_from_many_threads(emulator: VonageControl) -> None:
    lock = threading.Lock()
    seen: Counter[bytes] = Counter()

    def fails_now_and_then(handler: BaseHTTPRequestHandler, received: ReceivedRequest) -> None:
        with lock:
            seen[received.body] += 1
            fails = sum(seen.values()) % 10 == 0
        reply(handler, 503 if fails else 204)

    emulator.settings(backoff=0.01, attempts=20)
    with scripted(fails_now_and_then) as receiver:
        emulator.callbacks_to(receiver.url)
        outcome = emulator.hold_meetings(60, senders=8, duplicates=0.1, drop=0.2, seed=7)
    assert outcome["callbacks"] == 60 * 9
    dropped = sum(outcome["dropped"].values())
    assert 50 < dropped < 170
    assert outcome["sent"] == 60 * 9 - dropped + outcome["duplicated"]
    assert outcome["duplicated"] > 10
    assert (outcome["delivered"], outcome["given_up"]) == (outcome["sent"], 0)
    assert outcome["attempts"] == len(receiver.received) > outcome["sent"]
    assert receiver.connections <= 8
    assert len(set(outcome["recording_ids"])) == len(outcome["session_ids"]) == 60
    delivered = {
        each["body"]["recording_id"]
        for each in emulator.deliveries()
        if each["event"] == "recording:uploaded"
    }
    assert len(delivered) == 60 - outcome["dropped"]["recording:uploaded"]


def test_the_same_seed_loses_and_doubles_the_same(emulator: VonageControl) -> None:
    def outcome(seed: int) -> tuple[Any, Any]:
        made = emulator.hold_meetings(20, seed=seed)
        return made["dropped"], made["duplicated"]

    assert outcome(1) == outcome(1) != outcome(2)
