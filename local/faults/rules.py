"""Fault rules for microburst: which faults happen to which service, and how often."""

from collections.abc import Sequence
from typing import Any

Rule = dict[str, Any]

PARTIAL = "X-Entries-Failed"
"""The header of a rule that makes PutEvents fail for some entries; its value selects them."""

SOME = "some"
"""As the value of PARTIAL: random entries fail, temporarily. With any other value, entries that
contain it fail, permanently."""

_RESET: Rule = {"reset": True}
_RESPONSE_LOST: Rule = {"response": {"abort_bytes": 0}}
"""The operation succeeds, but its response is lost."""

_DELAY_WEIGHT = 0.1
"""The weight of delays relative to the other faults, low because each delay takes seconds."""

DYNAMODB: Sequence[Rule] = (
    {"error": {"code": "ProvisionedThroughputExceededException", "status": 400}},
    {"error": {"code": "ThrottlingException", "status": 400}},
    {"error": {"code": "InternalServerError", "status": 500}},
    _RESET,
    _RESPONSE_LOST,
    {"latency": {"min": 2100, "max": 2500}},
)
EVENTS: Sequence[Rule] = (
    {"response": {"set_headers": {PARTIAL: SOME}}},
    {"error": {"code": "ThrottlingException", "status": 400}},
    {"error": {"code": "InternalException", "status": 500}},
    _RESET,
    _RESPONSE_LOST,
    {"latency": {"min": 3100, "max": 3500}},
)
SECRETS: Sequence[Rule] = (
    {"error": {"code": "InternalServiceError", "status": 500}},
    {"error": {"code": "ThrottlingException", "status": 400}},
    _RESET,
    {"latency": {"min": 2100, "max": 2500}},
)
QUEUES: Sequence[Rule] = (
    {"error": {"code": "RequestThrottled", "status": 400}},
    {"error": {"code": "ServiceUnavailable", "status": 503}},
    _RESET,
)
BUCKETS: Sequence[Rule] = (
    {"error": {"code": "SlowDown", "status": 503}},
    {"error": {"code": "InternalError", "status": 500}},
    _RESET,
    _RESPONSE_LOST,
    {"latency": {"min": 2100, "max": 2500}},
)
SERVICES = {
    "dynamodb": DYNAMODB,
    "events": EVENTS,
    "secretsmanager": SECRETS,
    "sqs": QUEUES,
    "s3": BUCKETS,
}


def refusing(text: str) -> Rule:
    """Return a rule by which the bus permanently rejects events that contain this text."""
    return {
        "service": "events",
        "body": f"Entries[?contains(Detail, '{text}')]",
        "response": {"set_headers": {PARTIAL: text}},
    }


def failing(text: str, code: str, status: int) -> Rule:
    """Return a rule that fails every PutEvents call with an event that contains this text."""
    return {
        "service": "events",
        "body": f"Entries[?contains(Detail, '{text}')]",
        "error": {"code": code, "status": status},
    }


def fault_rules(rate: float) -> list[Rule]:
    """Return rules that make this share of the calls to each service fail, with any fault."""
    return [
        rule for service, faults in SERVICES.items() for rule in _sharing(service, faults, rate)
    ]


def _sharing(service: str, faults: Sequence[Rule], rate: float) -> list[Rule]:
    """Return the faults with probabilities that add up to `rate`, as rules are tried in order."""
    weights = [_DELAY_WEIGHT if "latency" in fault else 1.0 for fault in faults]
    rules, remaining = [], 1.0
    for fault, weight in zip(faults, weights, strict=True):
        share = rate * weight / sum(weights)
        rules.append({"service": service, "probability": share / remaining, **fault})
        remaining -= share
    return rules
