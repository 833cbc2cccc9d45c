"""The reference for the intake: a minimal handler that checks an HMAC and makes one write."""

import hashlib
import hmac
import json
import os
from typing import Any

import boto3

table = boto3.client("dynamodb")


def handler(request: Any, _context: object) -> dict[str, int]:
    """Respond 204 once the callback is written."""
    body = request["body"]
    mac = hmac.new(os.environ["FLOOR_SECRET"].encode(), body.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mac, request["headers"]["x-signature"]):
        return {"statusCode": 401}
    callback = json.loads(body)
    table.update_item(
        TableName=os.environ["TABLE_NAME"],
        Key={"pk": {"S": callback["recording_id"]}},
        UpdateExpression="ADD seen :event",
        ExpressionAttributeValues={":event": {"SS": [callback["event"]]}},
    )
    return {"statusCode": 204}
