"""Queue -> table: totals the recorded seconds of each session and counts a repeated event once.

One transaction stores the event's id and updates the total. For a repeat, or a retry after a crash,
the id exists, so DynamoDB cancels the whole transaction.
"""

import json
import logging
import os
import time
from collections.abc import Mapping
from typing import Any

import boto3

logger = logging.getLogger(__name__)
client = boto3.client("dynamodb")

ID_RETENTION = 120 * 24 * 3600
"""Seconds for which event ids are stored: longer than Roomkeeper's EventArchiveRetentionDays, which
is 90 with ENV=prod."""


def handler(batch: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Process a batch of messages; return the failed ones for SQS to retry."""
    failed = []
    for message in batch["Records"]:
        try:
            add_to_total(json.loads(message["body"]))
        except Exception:  # one bad message does not stop the others
            logger.exception("message %s failed", message["messageId"])
            failed.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failed}


def add_to_total(event: Mapping[str, Any]) -> None:
    """Add a recording to the total of its session, unless its event was processed before."""
    event_id, data = event["detail"]["metadata"]["event_id"], event["detail"]["data"]
    total = _update_total(data["session_id"], data.get("duration", 0))
    try:
        client.transact_write_items(TransactItems=[_put_event_id(event_id), total])
    except client.exceptions.TransactionCanceledException as error:
        if error.response["CancellationReasons"][0]["Code"] != "ConditionalCheckFailed":
            raise
        logger.info("event %s is a repeat", event_id)


def _put_event_id(event_id: str) -> Any:
    return {
        "Put": {
            "TableName": os.environ["TABLE_NAME"],
            "Item": {
                "pk": {"S": f"EVENT#{event_id}"},
                "ttl": {"N": str(int(time.time()) + ID_RETENTION)},
            },
            "ConditionExpression": "attribute_not_exists(pk)",
        }
    }


def _update_total(session_id: str, seconds: int) -> Any:
    return {
        "Update": {
            "TableName": os.environ["TABLE_NAME"],
            "Key": {"pk": {"S": f"SESSION#{session_id}"}},
            "UpdateExpression": "ADD recordings :one, seconds :seconds",
            "ExpressionAttributeValues": {":one": {"N": "1"}, ":seconds": {"N": str(seconds)}},
        }
    }
