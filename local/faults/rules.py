"""Faults as rules for microburst: what strikes which service how often."""

from collections.abc import Sequence
from typing import Any

Rule = dict[str, Any]

PARTIAL = "X-Entries-Failed"
"""A header set by a rule that makes PutEvents fail for some entries: which, is its value."""

SOME = "some"
"""As that value: for those that chance decides, and just now. Any other text: for those that
hold it, and for good."""

_RESET: Rule = {"reset": True}
_ANSWER_LOST: Rule = {"response": {"abort_bytes": 0}}
"""The operation is carried out, and nobody hears of it."""

_RARELY = 0.1
"""A delay's weight beside the other faults of its service: each holds a function up for seconds."""

DYNAMODB: Sequence[Rule] = (
    {"error": {"code": "ProvisionedThroughputExceededException", "status": 400}},
    {"error": {"code": "ThrottlingException", "status": 400}},
    {"error": {"code": "InternalServerError", "status": 500}},
    _RESET,
    _ANSWER_LOST,
    {"latency": {"min": 2100, "max": 2500}},
)
EVENTS: Sequence[Rule] = (
    {"response": {"set_headers": {PARTIAL: SOME}}},
    {"error": {"code": "ThrottlingException", "status": 400}},
    {"error": {"code": "InternalException", "status": 500}},
    _RESET,
    _ANSWER_LOST,
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
SERVICES = {"dynamodb": DYNAMODB, "events": EVENTS, "secretsmanager": SECRETS, "sqs": QUEUES}


def refusing(text: str) -> Rule:
    """Return a rule by which the bus refuses events that hold this text for good, and no other."""
    return {
        "service": "events",
        "body": f"Entries[?contains(Detail, '{text}')]",
        "response": {"set_headers": {PARTIAL: text}},
    }


def failing(text: str, code: str, status: int) -> Rule:
    """Return a rule by which every call fails so that has an event with this text among others."""
    return {
        "service": "events",
        "body": f"Entries[?contains(Detail, '{text}')]",
        "error": {"code": code, "status": status},
    }


def striking(rate: float) -> list[Rule]:
    """Return rules by which that share of the calls to each service meets a fault of some kind."""
    return [
        rule for service, faults in SERVICES.items() for rule in _sharing(service, faults, rate)
    ]


def _sharing(service: str, faults: Sequence[Rule], rate: float) -> list[Rule]:
    """Return the faults with chances that make `rate` in all, as each is asked after the others."""
    weights = [_RARELY if "latency" in fault else 1.0 for fault in faults]
    rules, spared = [], 1.0
    for fault, weight in zip(faults, weights, strict=True):
        share = rate * weight / sum(weights)
        rules.append({"service": service, "probability": share / spared, **fault})
        spared -= share
    return rules
