"""An endless table and endless rooms, generated on demand, as input for the jobs."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

LONG_AGO = datetime(2021, 11, 2, 16, tzinfo=UTC)
PAGE = 100


def dynamodb_response(operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return DynamoDB's response for a table with endless recordings past their retention."""
    if operation == "Query":
        return _due(request)
    if operation == "GetItem":
        key = request["Key"]["pk"]["S"]
        return {"Item": _recording(key)} if key.startswith("RECORDING#") else {}
    if operation == "BatchGetItem":
        [(table, wanted)] = request["RequestItems"].items()
        found = [_recording(key["pk"]["S"]) for key in wanted["Keys"]]
        return {"Responses": {table: found}, "UnprocessedKeys": {}}
    return {}


def rooms_page(start: int, size: int) -> dict[str, Any]:
    """Return a page of rooms that are all due for an extension."""
    now, day = datetime.now(UTC), timedelta(days=1)
    rooms = [
        {
            "id": f"room-{number}",
            "type": "long_term",
            "is_available": True,
            "created_at": (now - day).isoformat(),
            "expires_at": (now + day).isoformat(),
        }
        for number in range(start, start + size)
    ]
    after = f"rooms?page_size={size}&start_id={start + size}"
    return {"_embedded": rooms, "_links": {"next": {"href": f"http://vonage/{after}"}}}


def _due(request: Mapping[str, Any]) -> dict[str, Any]:
    shard = request["ExpressionAttributeValues"][":shard"]["S"]
    if request.get("Select") == "COUNT" or not shard.startswith("retained"):
        return {"Count": 0, "Items": []}
    start = int(request.get("ExclusiveStartKey", {"n": {"N": "0"}})["n"]["N"])
    items = [
        {
            "pk": {"S": f"RECORDING#{shard[-1]}-{number}"},
            "worklist": {"S": shard},
            "since": {"S": (LONG_AGO + timedelta(seconds=number)).isoformat()},
        }
        for number in range(start, start + PAGE)
    ]
    more = {"n": {"N": str(start + PAGE)}}
    return {"Count": PAGE, "Items": items, "LastEvaluatedKey": more}


def _recording(key: str) -> dict[str, Any]:
    return {
        "pk": {"S": key},
        "recording_id": {"S": key.removeprefix("RECORDING#")},
        "session_id": {"S": "session"},
        "seen": {"SS": ["recording:started", "recording:uploaded"]},
        "uploaded_at": {"S": LONG_AGO.isoformat()},
    }
