"""Back-dates items, so that tests need not wait for the retention period."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from operations.stack import Stack
from roomkeeper.domain.recordings import WorklistEntry
from roomkeeper.times import iso


def back_date(stack: Stack, entries: Iterable[WorklistEntry], age: timedelta) -> None:
    """Set the time at which entries joined their worklist to `age` ago, one second apart."""
    table, client = stack.outputs["TableName"], stack.client("dynamodb")
    since = datetime.now(UTC) - age

    def change(index: int, entry: WorklistEntry) -> None:
        client.update_item(
            TableName=table,
            Key={"pk": {"S": f"{entry.kind.upper()}#{entry.id}"}},
            UpdateExpression="SET since = :since",
            ExpressionAttributeValues={":since": {"S": iso(since + timedelta(seconds=index))}},
        )

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(change, *each) for each in enumerate(entries)]:
            future.result()


def recordings(ids: Iterable[str]) -> list[WorklistEntry]:
    """Return the recordings as worklist entries for `back_date`."""
    return [WorklistEntry("recording", id_, datetime.now(UTC)) for id_ in ids]
