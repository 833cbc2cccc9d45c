"""From a callback to a subscriber on the local stack: how long after the intake's answer."""

import json
import time

import requests

from benchmarks.figures import Figure, percentile, spread_of
from local import stack as local_stack
from local.servers import BUILD
from local.stack import LocalStack
from operations.subscriber import Subscriber

CALLBACKS = 60
WITHIN = 30.0


def measure() -> Figure:
    """Return how long after 204 an event is with a subscriber; the local AWS polls its streams."""
    with local_stack.running(BUILD / "local/bench", _say_nothing) as local:
        subscriber = Subscriber(local.stack, "bench")
        waits = [_wait(local, subscriber, f"bench-{number}") for number in range(CALLBACKS)]
        subscriber.close()
    p50, p99 = percentile(waits, 50), percentile(waits, 99)
    return Figure(
        name="callback_to_subscriber",
        value=p50,
        unit="ms (p50)",
        against="the intake's answer",
        spread=spread_of(waits),
        note=f"p99 {p99:.0f} ms, {CALLBACKS} callbacks one by one",
    )


def _wait(local: LocalStack, subscriber: Subscriber, recording: str) -> float:
    told = {"event": "recording:started", "recording_id": recording, "session_id": "s"}
    answer = requests.post(
        local.stack.base_url + local.stack.callback_path(),
        data=json.dumps(told),
        headers={"Content-Type": "application/json", **local.stack.headers},
        timeout=WITHIN,
    )
    answer.raise_for_status()
    answered = time.monotonic()
    subscriber.wait_for(lambda events: any(recording in str(e["detail"]) for e in events), WITHIN)
    return (time.monotonic() - answered) * 1000


def _say_nothing(_what: str) -> None:
    """Keep the table of figures clean of the stack's progress."""
