"""Schedule, or HTTP API -> Vonage, then table: deletes recordings that are past their retention."""

from collections.abc import Mapping
from typing import Any

from roomkeeper.http_api import Response
from roomkeeper.jobs import runner
from roomkeeper.jobs.cleanup import Cleanup
from roomkeeper.jobs.runner import Context, logger, metrics


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Context) -> Response:
    """Delete the recordings that are due; return a report, or raise at the end if any failed.

    Over HTTP the report is the response, and only unexpected exceptions are raised. Runs are
    idempotent; the next run handles the remaining recordings.
    """
    return runner.handle(event, context, Cleanup)
