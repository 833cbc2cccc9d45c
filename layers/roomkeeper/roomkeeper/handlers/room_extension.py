"""Schedule, or HTTP API -> Vonage, then table: extends rooms by the operator's policy."""

from collections.abc import Mapping
from typing import Any

from roomkeeper.http_api import Response
from roomkeeper.jobs import runner
from roomkeeper.jobs.room_extension import RoomExtension
from roomkeeper.jobs.runner import Context, logger, metrics


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Context) -> Response:
    """Extend the rooms that expire soon and that the policy selects; return a report.

    Each run continues where the last one stopped, and the next scan of all rooms retries failed
    rooms. A run with failures raises at its end, except over HTTP.
    """
    return runner.handle(event, context, RoomExtension)
