"""Queue -> table: adds up how long each room was recorded, each event once however often it comes.

An event's id is kept in the very transaction that has its effect. A repeat, or a second try after a
crash, finds the id there, and the transaction has no effect at all.
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

REMEMBERED = 90 * 24 * 3600
"""Seconds for which ids are kept: longer than Roomkeeper's EventArchiveDays can replay."""


def handler(batch: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Add up a batch of messages; name those to be handed over again."""
    failed = []
    for message in batch["Records"]:
        try:
            add_up(json.loads(message["body"]))
        except Exception:  # whatever is wrong with one message, the others are added up
            logger.exception("message %s could not be added up", message["messageId"])
            failed.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failed}


def add_up(event: Mapping[str, Any]) -> None:
    """Add a recording to its room's total, unless its event was added before."""
    event_id, data = event["detail"]["metadata"]["event_id"], event["detail"]["data"]
    room = data.get("room_id", "unknown")
    try:
        client.transact_write_items(
            TransactItems=[_first_time(event_id), _addition(room, data["duration"])]
        )
    except client.exceptions.TransactionCanceledException as cancelled:
        if cancelled.response["CancellationReasons"][0]["Code"] != "ConditionalCheckFailed":
            raise
        logger.info("event %s is a repeat", event_id)


def _first_time(event_id: str) -> Any:
    return {
        "Put": {
            "TableName": os.environ["TABLE_NAME"],
            "Item": {
                "pk": {"S": f"EVENT#{event_id}"},
                "ttl": {"N": str(int(time.time()) + REMEMBERED)},
            },
            "ConditionExpression": "attribute_not_exists(pk)",
        }
    }


def _addition(room: str, seconds: int) -> Any:
    return {
        "Update": {
            "TableName": os.environ["TABLE_NAME"],
            "Key": {"pk": {"S": f"ROOM#{room}"}},
            "UpdateExpression": "ADD recordings :one, seconds :seconds",
            "ExpressionAttributeValues": {":one": {"N": "1"}, ":seconds": {"N": str(seconds)}},
        }
    }
