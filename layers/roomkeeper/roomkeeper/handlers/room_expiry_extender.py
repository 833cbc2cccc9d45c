"""Schedule, HTTP API -> Vonage, table: keeps rooms alive as the operator's policy wants."""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from roomkeeper import store
from roomkeeper.aws import sdk
from roomkeeper.jobs import runner
from roomkeeper.jobs.room_extension import RoomExtension
from roomkeeper.jobs.runner import Answer, Context, Options, Report, Run, logger, metrics
from roomkeeper.settings import ExtenderSettings
from roomkeeper.store import RoomStore


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Context) -> Answer:
    """Extend the rooms that are about to expire and that the policy selects, as far as time lets.

    `event` is the options as JSON, from the schedule or a direct invocation, or an HTTP API request
    that has them as its body. A run goes on where the last one stopped; what fails is tried again
    by the next walk through all rooms, and makes a run that was not asked for over HTTP raise.
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
