"""Faults as rules for microburst: what strikes which service how often."""

from collections.abc import Sequence
from typing import Any

Rule = dict[str, Any]

PARTIAL = "X-Some-Entries-Failed"
"""A header that makes of a mutated answer to PutEvents one in which some entries failed."""

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
    {"response": {"set_headers": {PARTIAL: "1"}}},
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
