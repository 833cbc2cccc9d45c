"""Measures the time from the intake's response to the event's arrival, on the local stack."""

import json
import time

import requests

from benchmarks.measurements import Measurement, percentile, spread_of
from local import stack as local_stack
from local.servers import BUILD
from local.stack import LocalStack
from operations.subscriber import Subscriber

CALLBACKS = 60
TIMEOUT = 30.0  # seconds


def measure() -> Measurement:
    """Return the time from a 204 to the event's arrival. The local AWS polls its streams."""
    with local_stack.running(BUILD / "local/bench", lambda _step: None) as local:
        subscriber = Subscriber(local.stack, "bench")
        waits = [_wait(local, subscriber, f"bench-{number}") for number in range(CALLBACKS)]
        subscriber.close()
    p50, p99 = percentile(waits, 50), percentile(waits, 99)
    return Measurement(
        name="callback_to_subscriber",
        value=p50,
        unit="ms (p50)",
        against="the intake's response",
        spread=spread_of(waits),
        note=f"p99 {p99:.0f} ms, {CALLBACKS} callbacks one after another",
    )


def _wait(local: LocalStack, subscriber: Subscriber, recording: str) -> float:
    callback = {"event": "recording:started", "recording_id": recording, "session_id": "s"}
    response = requests.post(
        local.stack.base_url + local.stack.callback_path(),
        data=json.dumps(callback),
        headers={"Content-Type": "application/json", **local.stack.headers},
        timeout=TIMEOUT,
    )
    response.raise_for_status()
    start = time.monotonic()
    subscriber.wait_for(lambda events: any(recording in str(e["detail"]) for e in events), TIMEOUT)
    return (time.monotonic() - start) * 1000
