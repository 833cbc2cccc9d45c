"""AWS's JSON services, called over HTTPS without an SDK: what the functions need of one.

DynamoDB, Secrets Manager, EventBridge and SQS share one protocol: a signed POST of JSON, answered
in JSON. That much is quick to load, where the SDK takes longer than all else that a cold start
does; docs/performance.md has the figures, and what was weighed. Operations have the SDK's names
and arguments, so that its clients and type stubs fit the same places.

Source: "AWS JSON 1.0 protocol" and "AWS JSON 1.1 protocol" in the Smithy documentation.
"""

from roomkeeper.aws.client import (
    DYNAMODB,
    EVENTS,
    SECRETS_MANAGER,
    SQS,
    CallFailed,
    Client,
    Patience,
)

__all__ = [
    "DYNAMODB",
    "EVENTS",
    "SECRETS_MANAGER",
    "SQS",
    "CallFailed",
    "Client",
    "Patience",
]
