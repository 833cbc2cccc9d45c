"""The reference for the event publisher: it puts each event alone, with boto3."""

import json
import os
from typing import Any

import boto3

events = boto3.client("events")


def handler(batch: Any, _context: object) -> dict[str, list[str]]:
    """Put an event for each record."""
    for record in batch["Records"]:
        entry: Any = {
            "EventBusName": os.environ["EVENT_BUS_NAME"],
            "Source": "floor",
            "DetailType": record["eventName"],
            "Detail": json.dumps(record["dynamodb"]["NewImage"]),
        }
        events.put_events(Entries=[entry])
    return {"batchItemFailures": []}
