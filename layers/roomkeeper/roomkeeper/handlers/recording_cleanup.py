"""Schedule, or HTTP API -> Vonage, then table: deletes recordings that are past their retention."""

import os
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import Annotated, Any

from msgspec import Meta

from roomkeeper import store
from roomkeeper.aws import sdk
from roomkeeper.jobs import runner
from roomkeeper.jobs.batch import Summary
from roomkeeper.jobs.cleanup import OUTCOMES, Cleanup
from roomkeeper.jobs.runner import Options, Report, Run, logger, metrics
from roomkeeper.settings import CleanupSettings
from roomkeeper.store import Store


class CleanupOptions(Options, frozen=True, kw_only=True):
    """Without `retention_days`, the deployed setting applies; 0 there disables the cleanup."""

    retention_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: runner.Context) -> dict[str, Any]:
    """Delete the recordings that are due; return a report, or raise at the end if any failed.

    Over HTTP the report is the response, and only unexpected exceptions are raised. Runs are
    idempotent; the next run handles the remaining recordings.
    """
    return runner.handle(event, context, CleanupOptions, _run)


@cache
def _settings() -> CleanupSettings:
    return CleanupSettings.from_env(os.environ)


@cache
def _store() -> Store:
    known = _settings()
    return Store(sdk.dynamodb(store.SHORT_RETRY), known.table_name, deleted_days=known.deleted_days)


def _run(run: Run[CleanupOptions]) -> Report:
    days = run.options.retention_days or _settings().retention_days
    if not days:
        logger.info("cleanup is switched off")
        return Report(dry_run=run.dry_run, counts=_counts(0, 0, 0, Summary()), summary=Summary())
    until = run.now - timedelta(days=days)
    with runner.vonage_clients(run) as clients:
        cleanup = Cleanup(
            _store(),
            clients.recordings,
            until=until,
            now=run.now,
            dry_run=run.dry_run,
            deferred_at_most=run.deferred_at_most,
        )
        due = cleanup.count_due()
        summary = runner.work(run, cleanup.due(), cleanup.act)
    return Report(
        dry_run=run.dry_run,
        counts=_counts(due, cleanup.held, cleanup.deferred, summary),
        summary=summary,
        planned=cleanup.planned,
    )


def _counts(due: int, on_hold: int, deferred: int, summary: Summary) -> Mapping[str, int]:
    outcomes = Counter(dict.fromkeys(OUTCOMES, 0) | summary.outcomes)
    return {
        "due": due,
        **{name: outcomes[name] for name in OUTCOMES},
        "on_hold": on_hold + outcomes["on_hold"],
        "deferred": deferred,
        "remaining": runner.remaining(due, summary, skipped=on_hold),
    }
