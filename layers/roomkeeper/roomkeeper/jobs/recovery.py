"""Stores observations of recordings from Vonage's API, or lists them in a dry run.

Observations from the API are stored like callbacks, so a callback that arrives late is a duplicate.
"""

from datetime import datetime

from roomkeeper.domain.observations import RecordingObservation
from roomkeeper.domain.recordings import Recording
from roomkeeper.jobs.report import DryRunPlan
from roomkeeper.jobs.runner import logger
from roomkeeper.store import Store, correlation


class Recovery:
    """Stores observations at `now`. Thread-safe.

    Every method raises StoreUnavailable if the table cannot be reached.
    """

    def __init__(self, store: Store, now: datetime) -> None:
        self._store = store
        self._now = now

    def store(self, observation: RecordingObservation) -> bool:
        """Store an observation; return True if it is new."""
        is_new = self._store.recordings.reconcile(observation, self._now)
        if is_new:
            _log("missed callback recovered", observation.event, observation.recording_id)
        return is_new

    def confirm(self, known: Recording) -> None:
        """Mark a recording as returned by Vonage's API."""
        self._store.recordings.confirm(known, self._now)

    def mark_missing(self, known: Recording) -> bool:
        """Mark a recording as missing at Vonage; return False if its upload arrived meanwhile."""
        is_new = self._store.recordings.mark_missing(known, self._now)
        if is_new:
            _log("recording lost", "recording:lost", known.recording_id)
        return is_new

    def mark_expiring(self, recording_id: str) -> bool:
        """Record that Vonage will soon delete a recording's file; return True if that is new."""
        is_new = self._store.recordings.mark_expiring(recording_id, self._now)
        if is_new:
            _log("recording expiring", "recording:expiring", recording_id)
        return is_new


class PlannedRecovery(Recovery):
    """The recovery of a dry run: it lists the events in `plan`, and stores nothing."""

    def __init__(self, store: Store, now: datetime, plan: DryRunPlan) -> None:
        super().__init__(store, now)
        self._plan = plan

    def store(self, observation: RecordingObservation) -> bool:
        """List the event of an observation; return True unless it is listed already."""
        return self._listed(observation.event, observation.recording_id)

    def confirm(self, known: Recording) -> None:
        """Do nothing: a confirmation causes no event."""

    def mark_missing(self, known: Recording) -> bool:
        """List that a recording is missing at Vonage; return True."""
        self._listed("recording:lost", known.recording_id)
        return True

    def mark_expiring(self, recording_id: str) -> bool:
        """List that Vonage will soon delete a recording's file; return True if that is new."""
        return self._listed("recording:expiring", recording_id)

    def _listed(self, event: str, recording_id: str) -> bool:
        is_new = self._plan.add({"event": event, "recording_id": recording_id})
        if is_new:
            _log("missed callback found", event, recording_id)
        return is_new


def _log(message: str, event: str, recording_id: str) -> None:
    event_id = correlation.event_id_for_recording(recording_id, event)
    logger.info(message, event=event, recording_id=recording_id, correlation_id=event_id)
