"""Makes MiniStack retry batches of a table's stream as Lambda does.

MiniStack 1.5 retries a whole batch until the function no longer raises, and treats every response
as success. This patch adds partial batch responses, bisecting, the limits of retries and of age,
and the on-failure destination. Retries end at the first limit that is reached. Records that are too
old are discarded without an attempt.

Source: "Process DynamoDB records with Lambda", "Configuring partial batch response with DynamoDB"
in the Lambda guide.
"""

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
Result = dict[str, Any]
Invoke = Callable[[Sequence[Record]], Result]
Discard = Callable[[Sequence[Record], Result, str], None]

NO_LIMIT = -1
MAX_BACKOFF = 2.0  # seconds between two attempts; Lambda's own backoff is not published


@dataclass(frozen=True)
class Limits:
    """The limits of retries: their number and the records' age in seconds."""

    retries: int = NO_LIMIT
    age: int = NO_LIMIT


def deliver(
    records: Sequence[Record],
    invoke: Invoke,
    discard: Discard,
    *,
    limits: Limits,
    bisect: bool,
    wait: Callable[[float], object],
    clock: Callable[[], float] = time.time,
) -> None:
    """Invoke a function with `records`, in order, until each was processed or discarded.

    `invoke` returns the function's result. `discard` is called with the discarded records, the last
    result, and AWS's code for the reason. `wait` sleeps for the given number of seconds. `clock`
    determines the records' age.
    """
    batches = [(list(records), 0)]
    result: Result = {}
    while batches:
        batch, retries = batches.pop(0)
        if limits.age != NO_LIMIT and (old := _older_than(batch, clock() - limits.age)):
            discard(old, result, "MaxRecordAgeExceeded")
            batch = batch[len(old) :]
        if not batch:
            continue
        result = invoke(batch)
        remaining = _unprocessed(batch, result)
        if not remaining:
            continue
        if bisect and len(remaining) > 1:  # bisecting does not count as a retry
            middle = len(remaining) // 2
            batches[:0] = [(remaining[:middle], retries), (remaining[middle:], retries)]
        elif limits.retries != NO_LIMIT and retries >= limits.retries:
            discard(remaining, result, "RetryAttemptsExhausted")
        else:
            batches.insert(0, (remaining, retries + 1))
        wait(min(0.1 * 2**retries, MAX_BACKOFF))


def _older_than(batch: Sequence[Record], moment: float) -> list[Record]:
    """Return the leading records of the batch that were written before `moment` (Unix time)."""

    def is_old(record: Record) -> bool:
        return bool(record["dynamodb"]["ApproximateCreationDateTime"] < moment)

    return list(itertools.takewhile(is_old, batch))


def _unprocessed(batch: Sequence[Record], result: Result) -> list[Record]:
    """Return the records from the first failed one on; all records if the function raised."""
    if result.get("error"):
        return list(batch)
    body = result.get("body")
    failures = (body or {}).get("batchItemFailures") if isinstance(body, Mapping) else None
    if not failures:
        return []
    failed = {failure.get("itemIdentifier") for failure in failures}
    numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
    if not failed <= set(numbers):
        return list(batch)  # an unknown identifier fails the whole batch
    return list(batch[min(numbers.index(number) for number in failed) :])


def install() -> None:
    """Patch MiniStack in this process so that it delivers stream records with `deliver`."""
    from ministack.services import lambda_svc  # noqa: PLC0415 - only there in MiniStack's process

    polling = threading.local()
    poll, execute = lambda_svc._poll_dynamodb_streams, lambda_svc._execute_function

    def poll_streams() -> Any:
        polling.active = True
        try:
            return poll()
        finally:
            polling.active = False

    def execute_function(function: Any, event: Any, *rest: Any, **options: Any) -> Result:
        if not getattr(polling, "active", False):
            result: Result = execute(function, event, *rest, **options)
            return result
        mapping = _mapping_of(lambda_svc, event["Records"][0]["eventSourceARN"])
        deliver(
            event["Records"],
            lambda batch: execute(function, {"Records": batch}),
            lambda batch, result, reason: lambda_svc._send_ddb_stream_failure_record(
                mapping, function, batch, mapping["EventSourceArn"], result, reason
            ),
            limits=Limits(
                int(mapping.get("MaximumRetryAttempts", NO_LIMIT)),
                int(mapping.get("MaximumRecordAgeInSeconds", NO_LIMIT)),
            ),
            bisect=mapping.get("BisectBatchOnFunctionError", False),
            wait=time.sleep,
        )
        return {"body": None}

    lambda_svc._poll_dynamodb_streams = poll_streams
    lambda_svc._execute_function = execute_function


def _mapping_of(lambda_svc: Any, stream_arn: str) -> dict[str, Any]:
    return next(
        mapping
        for _account, _region, mapping in lambda_svc._iter_all_esms()
        if mapping.get("EventSourceArn") == stream_arn
    )
