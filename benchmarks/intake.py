"""Compares the callback intake with a minimal handler: cold start, CPU time and memory."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.figures import Figure, paired
from benchmarks.processes import HERE, LAYER, Measured
from local.servers import PROJECT

CALLS = 300
FLOOR_SECRET = "the floor's secret"  # noqa: S105 - protects nothing
MEGABYTE = 1_000_000


def measure(built: Path, repetitions: int) -> list[Figure]:
    """Return the intake's measurements, alternating with the minimal handler, in new processes.

    The intake's cold start includes reading its secret, from an endpoint without latency.
    """
    processes.compile_sdk()
    ours: list[Measured] = []
    floor: list[Measured] = []
    with processes.endpoint() as url:
        for _ in range(repetitions):
            ours.append(_intake(built, url))
            floor.append(_floor(url))
    cold, warm, rss = (
        ([one[name] for one in ours], [one[name] for one in floor])
        for name in ("cold", "warm_cpu", "rss")
    )
    return [
        paired("intake_cold", *cold, "ms", "the minimal handler's import and first call"),
        paired("intake_warm_cpu", *warm, "µs CPU a callback", "the minimal handler's"),
        paired("intake_rss", *rss, "bytes at the peak", "the minimal handler's"),
    ]


def _intake(built: Path, url: str) -> Measured:
    settings = {
        "SERVED_PRODUCTS": "meetings",
        "CALLBACK_SECRET_ARN": "secret",
        "ACCEPTED_CREDENTIALS": "token-or-signature",
        "SIGNATURE_MAX_AGE_HOURS": "48",
        "REQUIRE_PAYLOAD_HASH": "true",
        "EXPECTED_API_KEY": "",
        "EXPECTED_APPLICATION_ID": "",
        "PREVIOUS_SECRET_GRACE_HOURS": "24",
        "SESSION_DAYS": "400",
        "EVENT_DAYS": "30",
        "DELETED_RECORDING_DAYS": "90",
    }
    return processes.run(
        "container.py",
        [built / "CallbackIntake", built / LAYER],
        str(CALLS),
        env=processes.environment(url, **settings),
        stdin=json.dumps(request()),
    )


def _floor(url: str) -> Measured:
    signed = request()
    mac = hmac.new(FLOOR_SECRET.encode(), signed["body"].encode(), hashlib.sha256)
    signed["headers"]["x-signature"] = mac.hexdigest()
    return processes.run(
        "container.py",
        [HERE / "floor"],
        str(CALLS),
        env=processes.environment(url, FLOOR_SECRET=FLOOR_SECRET),
        stdin=json.dumps(signed),
    )


def request() -> Any:
    """Return API Gateway's event for a callback."""
    return json.loads((PROJECT / "events/functions/callback_intake.json").read_text())
