"""Hostile requests to every route cause no failure, get no access, store and reveal nothing."""

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import pytest
from msgspec import Struct

from local.testing.builders import a_body
from tests.support.callers import a_caller
from tests.support.deployed import WITHIN, Deployed
from tests.support.leaks import Past
from tests.support.measurements import Measurements
from tests.torture.hostile import Attack, Caller, Known, attacks, routes

pytestmark = pytest.mark.local_stack

SEED = 20211102
FULL, SHORT = 20_000, 1_000
SENDERS = 4
GATEWAYS_OWN = {403, 404, 413, 429, 431}
"""Statuses of API Gateway's own responses, whose body has only a `message`."""


class Response(Struct, frozen=True):
    """The response to an attack; `status` is 0 if the connection broke."""

    attack: Attack
    status: int
    body: bytes

    @property
    def description(self) -> str:
        """The attack and the response, for the message of a failed test."""
        attack = self.attack
        return (
            f"{attack.caller}: {attack.method} {attack.target[:120]} {dict(attack.headers)!s:.200} "
            f"{attack.body[:80]!r} -> {self.status} {self.body[:200]!r}"
        )

    @property
    def is_in_form(self) -> bool:
        """Whether an error has the JSON form of this API or of API Gateway's own errors."""
        if self.status < 400:
            return True
        if self.status in (400, 431) and self.attack.has_oversize_headers:
            return not self.body  # refused by the HTTP server itself
        try:
            content: dict[str, Any] = json.loads(self.body)
        except ValueError:
            return False
        if self.status in GATEWAYS_OWN and "message" in content:
            return content.keys() <= {"message", "__type"}  # only the local AWS sends __type
        return content.keys() == {"error"} and {*content["error"]} == {"code", "message"}


class Battery:
    """Sends attacks over several persistent connections at the same time."""

    def __init__(self, deployed: Deployed, past: Past) -> None:
        self._past = past
        self._address = urlsplit(deployed.stack.base_url).netloc
        self._host = deployed.stack.headers["Host"]

    def fire(self, volley: Sequence[Attack]) -> list[Response]:
        """Return the response to each attack; keep errors for the search for leaks."""
        with ThreadPoolExecutor(SENDERS) as pool:
            parts = pool.map(self._send_all, (volley[each::SENDERS] for each in range(SENDERS)))
            responses = [response for part in parts for response in part]
        self._past.errors += [
            response.body.decode(errors="replace")
            for response in responses
            if response.status >= 400
        ]
        return responses

    def _send_all(self, volley: Sequence[Attack]) -> list[Response]:
        with closing(HTTPConnection(self._address, timeout=WITHIN)) as connection:
            return [self._send(connection, attack) for attack in volley]

    def _send(self, connection: HTTPConnection, attack: Attack) -> Response:
        headers = {**attack.headers, "Host": self._host, "Content-Length": str(len(attack.body))}
        try:
            with suppress(
                BrokenPipeError, ConnectionResetError
            ):  # a response before the request was read completely
                connection.request(attack.method, attack.target, attack.body, headers)
            response = connection.getresponse()
            return Response(attack, response.status, response.read())
        except (HTTPException, OSError) as exc:
            connection.close()  # the next request opens a new one
            return Response(attack, 0, repr(exc).encode())


@pytest.fixture(scope="module")
def known(
    deployed: Deployed, signature_secret: str, video_signature_secrets: tuple[str, ...]
) -> Iterator[Known]:
    """The address and secrets of the attacked stack."""
    with a_caller(deployed.stack, "*") as user:
        yield Known(
            host=deployed.stack.headers["Host"],
            region=deployed.stack.region,
            tokens={
                "meetings": deployed.stack.callback_secret("meetings")["token"],
                "video": deployed.stack.callback_secret("video")["token"],
            },
            signature_secrets={
                "meetings": signature_secret,
                "video": video_signature_secrets[0],
            },
            user=user,
        )


@pytest.fixture(scope="module")
def arsenal(known: Known, full: bool) -> list[Attack]:
    """All attacks."""
    return list(attacks(known, SEED, FULL if full else SHORT))


def by(caller: Caller, arsenal: Sequence[Attack]) -> list[Attack]:
    return [attack for attack in arsenal if attack.caller == caller]


def the_table(deployed: Deployed) -> list[str]:
    """Return all items of the table as sorted JSON texts."""
    pages = deployed.stack.client("dynamodb").get_paginator("scan")
    found = pages.paginate(TableName=deployed.stack.outputs["TableName"], ConsistentRead=True)
    return sorted(json.dumps(item, sort_keys=True) for page in found for item in page["Items"])


def raised(deployed: Deployed) -> Counter[str]:
    """Return how often each function raised within the last hour."""
    metrics, now = deployed.stack.client("cloudwatch"), datetime.now(UTC)
    return Counter(
        {
            name: sum(
                int(point["Sum"])
                for point in metrics.get_metric_statistics(
                    Namespace="AWS/Lambda",
                    MetricName="Errors",
                    Dimensions=[{"Name": "FunctionName", "Value": deployed.id_of(name)}],
                    StartTime=now - timedelta(hours=1),
                    EndTime=now + timedelta(minutes=1),
                    Period=3600,
                    Statistics=["Sum"],
                )["Datapoints"]
            )
            for name in deployed.functions
        }
    )


def tracebacks(deployed: Deployed) -> list[str]:
    """Return the log messages of the functions that have a traceback."""
    logs = deployed.stack.client("logs").get_paginator("filter_log_events")
    return [
        event["message"]
        for name in deployed.functions
        for page in logs.paginate(
            logGroupName=deployed.id_of(f"{name}Logs"), filterPattern='"Traceback"'
        )
        for event in page["events"]
    ]


def require_composed(responses: Sequence[Response], measurements: Measurements) -> None:
    """Fail if a response shows a server error; add the counts to the measurements."""
    broken = [
        response.description
        for response in responses
        if response.status >= 500 or not response.status
    ]
    measurements.add("inputs", tried=len(responses), server_errors=len(broken))
    assert broken == []
    assert [response.description for response in responses if not response.is_in_form] == []
    assert [response.description for response in responses if b"Traceback" in response.body] == []


def test_every_route_is_attacked_from_both_sides(arsenal: list[Attack]) -> None:
    tried = {(attack.caller, attack.route) for attack in arsenal}
    assert tried == {*product(["intruder", "insider"], routes())}


def test_an_intruder_causes_no_failure_gets_no_access_and_stores_nothing(
    deployed: Deployed, past: Past, arsenal: list[Attack], measurements: Measurements
) -> None:
    before, errors, traces = the_table(deployed), raised(deployed), tracebacks(deployed)

    responses = Battery(deployed, past).fire(by("intruder", arsenal))

    let_in = [response.description for response in responses if 0 < response.status < 400]
    measurements.add("inputs", let_in=len(let_in))
    assert let_in == []
    require_composed(responses, measurements)
    assert the_table(deployed) == before
    assert (raised(deployed), tracebacks(deployed)) == (errors, traces)


def test_an_insider_causes_no_failure(
    deployed: Deployed, past: Past, arsenal: list[Attack], measurements: Measurements
) -> None:
    errors, traces = raised(deployed), tracebacks(deployed)

    responses = Battery(deployed, past).fire(by("insider", arsenal))

    require_composed(responses, measurements)
    require_no_dead_letters(deployed)
    assert (raised(deployed), tracebacks(deployed)) == (errors, traces)


def require_no_dead_letters(deployed: Deployed) -> None:
    """Fail if an accepted callback could not be published."""
    last = str(uuid.uuid4())
    deployed.post(a_body("recording:started", recording_id=last))
    deployed.events_about(last, count=1)  # all earlier ones are published by then
    attributes = deployed.stack.client("sqs").get_queue_attributes(
        QueueUrl=deployed.stack.outputs["DeadLetterQueueUrl"],
        AttributeNames=["ApproximateNumberOfMessages"],
    )
    assert attributes["Attributes"]["ApproximateNumberOfMessages"] == "0"
