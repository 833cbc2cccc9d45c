"""Hostile requests at every route: no failure, no way in, nothing left behind, no word too much."""

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
from local.testing.template import resources
from tests.support.callers import a_caller
from tests.support.deployed import Deployed
from tests.support.figures import Figures
from tests.support.leaks import Past
from tests.torture.hostile import Attack, Caller, Known, attacks, routes

pytestmark = pytest.mark.local_stack

SEED = 20211102
FULL, SHORT = 20_000, 1_500
SENDERS = 4
GATEWAYS_OWN = {403, 404, 413, 429, 431}
"""What API Gateway answers by itself, with a `message` alone."""


class Answer(Struct, frozen=True):
    """What an attack was answered; 0 when the connection was broken off."""

    attack: Attack
    status: int
    body: bytes

    @property
    def told(self) -> str:
        """What a failing test says of it."""
        attack = self.attack
        return (
            f"{attack.caller}: {attack.method} {attack.target[:120]} {dict(attack.headers)!s:.200} "
            f"{attack.body[:80]!r} -> {self.status} {self.body[:200]!r}"
        )

    @property
    def is_in_form(self) -> bool:
        """Whether an error is told as ours are, or as API Gateway tells its own."""
        if self.status < 400:
            return True
        if self.status in (400, 431) and self.attack.has_oversize_headers:
            return not self.body  # refused before anything was read as HTTP
        try:
            told: dict[str, Any] = json.loads(self.body)
        except ValueError:
            return False
        if self.status in GATEWAYS_OWN and "message" in told:
            return told.keys() <= {"message", "__type"}  # __type by the local AWS alone
        return told.keys() == {"error"} and {*told["error"]} == {"code", "message"}


class Battery:
    """Sends attacks over connections that are kept open, several at once."""

    def __init__(self, deployed: Deployed, past: Past) -> None:
        self._past = past
        self._address = urlsplit(deployed.stack.base_url).netloc
        self._host = deployed.stack.headers["Host"]

    def fire(self, volley: Sequence[Attack]) -> list[Answer]:
        """Return what each was answered; errors are kept for the search for leaks, too."""
        with ThreadPoolExecutor(SENDERS) as pool:
            parts = pool.map(self._send_all, (volley[each::SENDERS] for each in range(SENDERS)))
            answers = [answer for part in parts for answer in part]
        self._past.errors += [
            answer.body.decode(errors="replace") for answer in answers if answer.status >= 400
        ]
        return answers

    def _send_all(self, volley: Sequence[Attack]) -> list[Answer]:
        with closing(HTTPConnection(self._address, timeout=60)) as connection:
            return [self._send(connection, attack) for attack in volley]

    def _send(self, connection: HTTPConnection, attack: Attack) -> Answer:
        headers = {**attack.headers, "Host": self._host, "Content-Length": str(len(attack.body))}
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # some it answers unread
                connection.request(attack.method, attack.target, attack.body, headers)
            answer = connection.getresponse()
            return Answer(attack, answer.status, answer.read())
        except (HTTPException, OSError) as problem:
            connection.close()  # the next request opens it anew
            return Answer(attack, 0, repr(problem).encode())


@pytest.fixture(scope="module")
def known(deployed: Deployed, signature_secret: str) -> Iterator[Known]:
    """What there is to know of the stack that is attacked."""
    with a_caller(deployed.stack, "*") as user:
        yield Known(
            host=deployed.stack.headers["Host"],
            region=deployed.stack.region,
            token=deployed.stack.callback_secret()["token"],
            signature_secret=signature_secret,
            user=user,
        )


@pytest.fixture(scope="module")
def arsenal(known: Known, full: bool) -> list[Attack]:
    """Every request that is going to be made."""
    return list(attacks(known, SEED, FULL if full else SHORT))


def by(caller: Caller, arsenal: Sequence[Attack]) -> list[Attack]:
    return [attack for attack in arsenal if attack.caller == caller]


def the_table(deployed: Deployed) -> list[str]:
    """Return all that the table holds, in an order that is always the same."""
    pages = deployed.stack.client("dynamodb").get_paginator("scan")
    found = pages.paginate(TableName=deployed.stack.outputs["TableName"], ConsistentRead=True)
    return sorted(json.dumps(item, sort_keys=True) for page in found for item in page["Items"])


def raised(deployed: Deployed) -> Counter[str]:
    """Return how often each function has raised within the last hour."""
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
            for name in resources("AWS::Serverless::Function")
        }
    )


def tracebacks(deployed: Deployed) -> list[str]:
    """Return the lines of the functions' logs that hold one."""
    logs = deployed.stack.client("logs").get_paginator("filter_log_events")
    return [
        event["message"]
        for name in resources("AWS::Serverless::Function")
        for page in logs.paginate(
            logGroupName=deployed.id_of(f"{name}Logs"), filterPattern='"Traceback"'
        )
        for event in page["events"]
    ]


def require_composed(answers: Sequence[Answer], figures: Figures) -> None:
    """Fail where an answer shows that something broke; count."""
    broken = [answer.told for answer in answers if answer.status >= 500 or not answer.status]
    figures.add("inputs", tried=len(answers), server_errors=len(broken))
    assert broken == []
    assert [answer.told for answer in answers if not answer.is_in_form] == []
    assert [answer.told for answer in answers if b"Traceback" in answer.body] == []


def test_every_route_is_attacked_from_both_sides(arsenal: list[Attack]) -> None:
    tried = {(attack.caller, attack.route) for attack in arsenal}
    assert tried == {*product(["intruder", "insider"], routes())}


def test_an_intruder_breaks_nothing_gets_nowhere_and_leaves_nothing(
    deployed: Deployed, past: Past, arsenal: list[Attack], figures: Figures
) -> None:
    before, errors, traces = the_table(deployed), raised(deployed), tracebacks(deployed)

    answers = Battery(deployed, past).fire(by("intruder", arsenal))

    let_in = [answer.told for answer in answers if 0 < answer.status < 400]
    figures.add("inputs", let_in=len(let_in))
    assert let_in == []
    require_composed(answers, figures)
    assert the_table(deployed) == before
    assert (raised(deployed), tracebacks(deployed)) == (errors, traces)


def test_an_insider_breaks_nothing(
    deployed: Deployed, past: Past, arsenal: list[Attack], figures: Figures
) -> None:
    errors, traces = raised(deployed), tracebacks(deployed)

    answers = Battery(deployed, past).fire(by("insider", arsenal))

    require_composed(answers, figures)
    require_nothing_set_aside(deployed)
    assert (raised(deployed), tracebacks(deployed)) == (errors, traces)


def require_nothing_set_aside(deployed: Deployed) -> None:
    """Fail when a callback that was taken could not be published."""
    last = str(uuid.uuid4())
    deployed.post(a_body("recording:started", recording_id=last))
    deployed.events_about(last, count=1)  # so that all before it is published, too
    attributes = deployed.stack.client("sqs").get_queue_attributes(
        QueueUrl=deployed.stack.outputs["DeadLetterQueueUrl"],
        AttributeNames=["ApproximateNumberOfMessages"],
    )
    assert attributes["Attributes"]["ApproximateNumberOfMessages"] == "0"
