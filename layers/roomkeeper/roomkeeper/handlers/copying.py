"""Queue -> Vonage, then bucket and table: copies recordings. Schedule or HTTP API -> queue."""

from collections.abc import Mapping
from typing import Any

from roomkeeper.jobs import copy_worker, runner
from roomkeeper.jobs.copying import Copying
from roomkeeper.jobs.runner import Context, logger, metrics


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Context) -> Mapping[str, Any]:
    """Copy the queue's recordings, or queue those that wait; return the response of either.

    An event with `Records` is from the queue: the response has the messages to deliver again. Any
    other event starts the sweep, whose report is returned as for every job.
    """
    if "Records" in event:
        return copy_worker.copy_queued(event, context)
    return runner.handle(event, context, Copying)
