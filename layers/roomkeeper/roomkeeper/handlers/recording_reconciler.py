"""Schedule, or HTTP API -> Vonage, then table: recovers recordings whose callbacks were lost."""

import os
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import Annotated, Any

from msgspec import Meta

from roomkeeper import store
from roomkeeper.aws import sdk
from roomkeeper.jobs import runner
from roomkeeper.jobs.reconciliation import OUTCOMES, Reconciliation
from roomkeeper.jobs.runner import Options, Report, Run, logger, metrics
from roomkeeper.settings import ReconcilerSettings
from roomkeeper.store import Store


class ReconciliationOptions(Options, frozen=True, kw_only=True):
    """Without `grace_hours`, the deployed setting applies."""

    grace_hours: Annotated[int, Meta(ge=0, le=87_600)] | None = None


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: runner.Context) -> dict[str, Any]:
    """Reconcile the entries that are due; return a report, or raise at the end if any failed.

    Over HTTP the report is the response, and only unexpected exceptions are raised. Runs are
    idempotent; the next run handles the remaining entries.
    """
    return runner.handle(event, context, ReconciliationOptions, _run)


@cache
def _settings() -> ReconcilerSettings:
    return ReconcilerSettings.from_env(os.environ)


@cache
def _store() -> Store:
    known = _settings()
    return Store(sdk.dynamodb(store.SHORT_RETRY), known.table_name, deleted_days=known.deleted_days)


def _run(run: Run[ReconciliationOptions]) -> Report:
    hours = run.options.grace_hours
    grace = timedelta(hours=_settings().grace_hours if hours is None else hours)
    with runner.vonage_clients(run) as clients:
        reconciliation = Reconciliation(
            _store(),
            clients.recordings,
            grace=grace,
            now=run.now,
            dry_run=run.dry_run,
            deferred_at_most=run.deferred_at_most,
        )
        due = reconciliation.count_due()
        summary = runner.work(run, reconciliation.due(), reconciliation.act)
    return Report(
        dry_run=run.dry_run,
        counts={
            "due": due,
            **{name: summary.outcomes[name] for name in OUTCOMES},
            "discovered": reconciliation.adopted,
            "deferred": reconciliation.deferred,
            "remaining": runner.remaining(due, summary),
        },
        summary=summary,
        planned=reconciliation.planned,
    )
