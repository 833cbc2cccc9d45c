"""What AWS does when a function fails on a batch of a table's stream, for MiniStack.

MiniStack 1.5 hands a whole batch over again until the function no longer raises, and takes every
answer for success. Here a partial batch response, bisecting, the limits of retries and of age, and
the on-failure destination work as they do in Lambda: retries end by whichever limit comes first,
and records that are too old are discarded before they are tried.

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
LONGEST_PAUSE = 2.0  # seconds between two attempts; Lambda's own pauses are not published


@dataclass(frozen=True)
class Limits:
    """What ends the retries: a number of them, an age in seconds, or whichever comes first."""

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
    """Hand `records` to a function, in order, until each was taken or discarded.

    `invoke` returns the function's result; `discard` gets what is given up, with the last result
    and AWS's word for the reason; `wait` is asked to let so many seconds pass. Ages
    are by `clock`.
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
        left = _left_to_do(batch, result)
        if not left:
            continue
        if bisect and len(left) > 1:  # halving does not count as a retry
            middle = len(left) // 2
            batches[:0] = [(left[:middle], retries), (left[middle:], retries)]
        elif limits.retries != NO_LIMIT and retries >= limits.retries:
            discard(left, result, "RetryAttemptsExhausted")
        else:
            batches.insert(0, (left, retries + 1))
        wait(min(0.1 * 2**retries, LONGEST_PAUSE))


def _older_than(batch: Sequence[Record], moment: float) -> list[Record]:
    """Return the records from the batch's start that were written before `moment`, in seconds."""

    def is_old(record: Record) -> bool:
        return bool(record["dynamodb"]["ApproximateCreationDateTime"] < moment)

    return list(itertools.takewhile(is_old, batch))


def _left_to_do(batch: Sequence[Record], result: Result) -> list[Record]:
    """Return the records from the first failed one on; all, when the function failed as a whole."""
    if result.get("error"):
        return list(batch)
    answer = result.get("body")
    failures = (answer or {}).get("batchItemFailures") if isinstance(answer, Mapping) else None
    if not failures:
        return []
    failed = {failure.get("itemIdentifier") for failure in failures}
    numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
    if not failed <= set(numbers):
        return list(batch)  # an identifier that is none fails the whole batch
    return list(batch[min(numbers.index(number) for number in failed) :])


def install() -> None:
    """Make MiniStack in this process deliver streams' records in this way."""
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
