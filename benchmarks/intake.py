"""Compares the callback intake with minimal handlers: cold start, CPU time and memory."""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import processes
from benchmarks.measurements import Measurement, paired
from benchmarks.processes import HERE, LAYER, LAYER_FOR_INTAKE, LAYER_FOR_VONAGE, Measured
from local.servers import PROJECT
from local.testing.builders import SIGNATURE_SECRET, a_signature

CALLS = 300
REPETITIONS = 21
SECONDS = 75.0
"""The time in seconds for the repetitions of one comparison."""

FLOOR_SECRET = "the floor's secret"  # noqa: S105 - protects nothing
SETTINGS = {
    "TABLE_NAME": "table",
    "FLOOR_SECRET": FLOOR_SECRET,
    "VIDEO_FLOOR_SECRET": SIGNATURE_SECRET,
}
AGAINST = "a handler of ten lines with boto3"
VIDEO_AGAINST = "ten lines with PyJWT, cryptography and boto3"


def measure(built: Path) -> Iterator[Measurement]:
    """Yield the intake's measurements over plain HTTP, for callbacks of both products.

    Programs take turns, each in a new process. The intake's cold start includes reading its secret,
    from an endpoint without latency.
    """
    with processes.endpoint() as url, processes.sdk() as sdk:
        run = partial(_run, url)
        ours, floor, limit = processes.in_turn(
            partial(run, _intake(built, sdk), request()),
            partial(run, [HERE / "floor", sdk], signed_request()),
            partial(run, [HERE / "floor_limit", built / LAYER_FOR_INTAKE], request()),
            at_most=REPETITIONS,
            seconds=SECONDS,
        )
        yield _measurement("intake_cold", "cold", ours, floor, AGAINST)
        yield _measurement("intake_warm_cpu", "warm_cpu", ours, floor, AGAINST)
        yield _measurement("intake_rss", "rss", ours, floor, AGAINST)
        yield _measurement(
            "intake_limit", "cold", ours, limit, "one call with awscrt, and nothing else"
        )
        ours, floor = _video(built, sdk, run)
        yield _measurement("video_intake_cold", "cold", ours, floor, VIDEO_AGAINST)
        yield _measurement("video_intake_warm_cpu", "warm_cpu", ours, floor, VIDEO_AGAINST)
        yield _measurement("video_intake_rss", "rss", ours, floor, VIDEO_AGAINST)


def measure_tls(built: Path) -> Iterator[Measurement]:
    """Yield the cold starts over TLS. Both sides load the same file of public authorities."""
    with processes.tls_endpoint() as (url, trusted), processes.sdk() as sdk:
        run = partial(_run, url, AWS_CA_BUNDLE=str(trusted))
        ours, floor = processes.in_turn(
            partial(run, _intake(built, sdk), request()),
            partial(run, [HERE / "floor", sdk], signed_request()),
            at_most=REPETITIONS,
            seconds=SECONDS / 2,
        )
        yield _measurement("intake_cold_tls", "cold", ours, floor, AGAINST)
        ours, floor = _video(built, sdk, run)
        yield _measurement("video_intake_cold_tls", "cold", ours, floor, VIDEO_AGAINST)


def request() -> Any:
    """Return API Gateway's event for a callback of the Meetings API, with the token in its path."""
    return json.loads((PROJECT / "events/functions/callback_intake.json").read_text())


def signed_request() -> Any:
    """Return the same event with the signature that the minimal handler checks."""
    signed = request()
    mac = hmac.new(FLOOR_SECRET.encode(), signed["body"].encode(), hashlib.sha256)
    signed["headers"]["x-signature"] = mac.hexdigest()
    return signed


def video_request() -> Any:
    """Return API Gateway's event for a signed callback of the Video API, without a token."""
    received = request()
    body = (PROJECT / "events/video_archive_available.json").read_bytes()
    route = "POST /callbacks/video"
    received |= {"routeKey": route, "rawPath": "/callbacks/video", "body": body.decode()}
    received["requestContext"]["routeKey"] = route
    received["headers"]["authorization"] = a_signature(body)
    del received["pathParameters"]
    return received


def _video(built: Path, sdk: Path, run: Callable[..., Measured]) -> Any:
    """Run the intake with signed callbacks, and its floor with PyJWT as the layers have it."""
    floor = [HERE / "floor_video", built / LAYER, built / LAYER_FOR_VONAGE, sdk]
    return processes.in_turn(
        partial(run, _intake(built, sdk), video_request()),
        partial(run, floor, video_request()),
        at_most=REPETITIONS,
        seconds=SECONDS / 2,
    )


def _intake(built: Path, sdk: Path) -> list[Path]:
    return [built / "CallbackIntake", built / LAYER, built / LAYER_FOR_INTAKE, sdk]


def _run(url: str, paths: list[Path], callback: Any, **more: str) -> Measured:
    return processes.run(
        "container.py",
        paths,
        str(CALLS),
        env=processes.environment("CallbackIntake", url, **SETTINGS, **more),
        stdin=json.dumps(callback),
        site=False,
    )


_UNITS: Mapping[str, str] = {
    "cold": "ms",
    "warm_cpu": "µs CPU a callback",
    "rss": "bytes at the peak",
}


def _measurement(name: str, key: str, ours: Any, floor: Any, against: str) -> Measurement:
    mine, theirs = ([each[key] for each in runs] for runs in (ours, floor))
    note = ""
    if key == "cold":
        cpu = median(
            one["cold_cpu"] / other["cold_cpu"] for one, other in zip(ours, floor, strict=True)
        )
        note = f"{cpu:.2f} of its processor time"
    return paired(name, mine, theirs, _UNITS[key], f"{median(theirs):,.0f}: {against}", note)
