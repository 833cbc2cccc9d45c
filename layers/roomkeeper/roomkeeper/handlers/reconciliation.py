"""Schedule, or HTTP API -> Vonage, then table: recovers recordings whose callbacks were lost."""

from collections.abc import Mapping
from typing import Any

from roomkeeper.http_api import Response
from roomkeeper.jobs import runner
from roomkeeper.jobs.reconciliation import Reconciliation
from roomkeeper.jobs.runner import Context, logger, metrics


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Context) -> Response:
    """Reconcile the entries that are due; return a report, or raise at the end if any failed.

    Over HTTP the report is the response, and only unexpected exceptions are raised. Runs are
    idempotent; the next run handles the remaining entries.
    """
    return runner.handle(event, context, Reconciliation)
