"""Schedule, or HTTP API -> Vonage, then table: extends rooms by the operator's policy."""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from roomkeeper import store
from roomkeeper.aws import sdk
from roomkeeper.http_api import Response
from roomkeeper.jobs import runner
from roomkeeper.jobs.room_extension import RoomExtension
from roomkeeper.jobs.runner import Context, Options, Report, Run, logger, metrics
from roomkeeper.settings import ExtenderSettings
from roomkeeper.store import RoomStore


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Context) -> Response:
    """Extend the rooms that expire soon and that the policy selects; return a report.

    `event` is the options as JSON, from the schedule or a direct invocation, or an HTTP API request
    with the options as its body. Each run continues where the last one stopped. The next scan of
    all rooms retries failed rooms. Any failure makes a run raise at its end, except over HTTP.
    """
    return runner.handle(event, context, Options, _extend)


@cache
def _settings() -> ExtenderSettings:
    return ExtenderSettings.from_env(os.environ)


@cache
def _table() -> RoomStore:
    known = _settings()
    return RoomStore(sdk.dynamodb(store.SHORT_RETRY), known.table_name, event_days=known.event_days)


def _extend(run: Run[Options]) -> Report:
    table = _table()
    with runner.vonage_client(run) as vonage:
        return RoomExtension(run, _settings().policy, vonage, table).run()
