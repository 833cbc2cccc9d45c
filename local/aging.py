"""Time that has passed, for what the table holds: nobody can wait for a retention to be over."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from operations.stack import Stack
from roomkeeper.domain.recordings import WorklistEntry
from roomkeeper.times import iso


def back_date(stack: Stack, waiting: Iterable[WorklistEntry], age: timedelta) -> None:
    """Have entries of a worklist be there since `age` ago, each a second later than the last."""
    table, client = stack.outputs["TableName"], stack.client("dynamodb")
    since = datetime.now(UTC) - age

    def change(place: int, entry: WorklistEntry) -> None:
        client.update_item(
            TableName=table,
            Key={"pk": {"S": f"{entry.kind.upper()}#{entry.id}"}},
            UpdateExpression="SET since = :since",
            ExpressionAttributeValues={":since": {"S": iso(since + timedelta(seconds=place))}},
        )

    with ThreadPoolExecutor(8) as pool:
        for change_made in [pool.submit(change, *each) for each in enumerate(waiting)]:
            change_made.result()


def recordings(ids: Iterable[str]) -> list[WorklistEntry]:
    """Return recordings as `back_date` takes them."""
    return [WorklistEntry("recording", id_, datetime.now(UTC)) for id_ in ids]
