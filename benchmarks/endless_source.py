"""An endless table, endless rooms and a list of archives, generated on demand, for the jobs."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

LONG_AGO = datetime(2021, 11, 2, 16, tzinfo=UTC)
PAGE = 100


def dynamodb_response(
    operation: str, request: Mapping[str, Any], worklist: str = "retained"
) -> dict[str, Any]:
    """Return DynamoDB's response for a table with endless recordings that are due on `worklist`."""
    if operation == "Query":
        return _due(request, worklist)
    if operation == "GetItem":
        key = request["Key"]["pk"]["S"]
        return {"Item": _recording(key)} if _is_known(key) else {}
    if operation == "BatchGetItem":
        [(table, wanted)] = request["RequestItems"].items()
        keys = (key["pk"]["S"] for key in wanted["Keys"])
        found = [_recording(key) for key in keys if _is_known(key)]
        return {"Responses": {table: found}, "UnprocessedKeys": {}}
    return {}


def rooms_page(start: int, size: int) -> dict[str, Any]:
    """Return a page of rooms that are all due for an extension."""
    rooms = [room(f"room-{number}") for number in range(start, start + size)]
    after = f"rooms?page_size={size}&start_id={start + size}"
    return {"_embedded": rooms, "_links": {"next": {"href": f"http://vonage/{after}"}}}


def room(id_: str) -> dict[str, Any]:
    """Return a room that is due for an extension."""
    now, day = datetime.now(UTC), timedelta(days=1)
    return {
        "id": id_,
        "type": "long_term",
        "is_available": True,
        "created_at": (now - day).isoformat(),
        "expires_at": (now + day).isoformat(),
    }


def extended_room(id_: str, change: Mapping[str, Any]) -> dict[str, Any]:
    """Return the room after an update with the body `change`."""
    return room(id_) | {"expires_at": change["update_details"]["expires_at"]}


def archives_page(kind: str, total: int, offset: int, count: int) -> bytes:
    """Return a page of a list of `total` archives, as JSON.

    `kind` starts their ids. The table has the archives of all kinds but `new`.
    """
    size = max(0, min(count, total - offset))
    items = ",".join(_archive(f"{kind}-{number}") for number in range(offset, offset + size))
    return f'{{"count": {total}, "items": [{items}]}}'.encode()


def _archive(id_: str) -> str:
    return _archive_template().replace("ID", id_)


@cache
def _archive_template() -> str:
    now = datetime.now(UTC)
    archive = {
        "id": "ID",
        "status": "available",
        "name": "archive test",
        "reason": "user initiated",
        "sessionId": "session",
        "applicationId": "application",
        "createdAt": int((now - timedelta(hours=2)).timestamp()) * 1000,
        "updatedAt": int((now - timedelta(hours=1)).timestamp()) * 1000,
        "size": 2_471_453_295,
        "duration": 3_570,
        "outputMode": "composed",
        "hasAudio": True,
        "hasVideo": True,
        "resolution": "1280x720",
        "url": "https://example.com/ID/archive.mp4?Expires=1&Signature=sample",
    }
    return json.dumps(archive)


def _is_known(key: str) -> bool:
    return key.startswith("RECORDING#") and not key.startswith("RECORDING#new-")


def _due(request: Mapping[str, Any], worklist: str) -> dict[str, Any]:
    shard = request["ExpressionAttributeValues"][":shard"]["S"]
    if not shard.startswith(f"{worklist}#"):
        return {"Count": 0, "Items": []}
    if request.get("Select") == "COUNT":
        return {"Count": PAGE}  # any number but 0, since the list is endless
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
        "confirmed_at": {"S": LONG_AGO.isoformat()},
    }
