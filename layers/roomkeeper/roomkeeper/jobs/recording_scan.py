"""Compares Vonage's lists of all recordings with the table, and stores the differences.

Only the Video API has such a list. A scan finds recordings for which no callback ever came, those
with a lost callback, and those whose file Vonage will soon delete or has deleted.
"""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from msgspec import Struct

from roomkeeper.domain.observations import Listed, Product, RecordingObservation
from roomkeeper.domain.recordings import Recording
from roomkeeper.errors import RoomkeeperError
from roomkeeper.jobs.batch import Summary
from roomkeeper.jobs.products import Products
from roomkeeper.jobs.recovery import Recovery
from roomkeeper.jobs.runner import Run, logger
from roomkeeper.store import CorruptItem, Store
from roomkeeper.vonage import RecordingsApi, VonageError

_LOOKUP_BATCH = 100

COUNTS = ("scanned", "discovered", "recovered", "expiring", "expired", "unrecognized")


class ScanPeriod(Struct, frozen=True, kw_only=True):
    """How far a scan reads back, and how long before its end a file counts as expiring."""

    horizon: timedelta
    notice: timedelta


class InvalidListEntry(RoomkeeperError):
    """Vonage's list of all recordings has a recording with missing or invalid data."""

    @property
    def is_item_specific(self) -> bool:
        """Always True: only this recording is affected."""
        return True


class RecordingScan:
    """One run's scan of the lists of all products that have one.

    It takes at most half of the run's time. The next run continues an interrupted scan at its
    position. Up to two pages are read ahead while one is compared, so at most three are in memory.

    `counts` has how many recordings were `scanned`, and how many were `discovered` (no callback
    ever came), `recovered` (a later stage than known), `expiring` and `expired`. Those with a
    status that Roomkeeper does not know are `unrecognized`, not failed.
    """

    def __init__(
        self,
        run: Run[Any],
        store: Store,
        products: Products,
        recovery: Recovery,
        period: ScanPeriod,
    ) -> None:
        self._run = run
        self._store = store
        self._products = products
        self._recovery = recovery
        self._since = run.now - period.horizon
        self._expiring_until = run.now + period.notice
        self._ends_at = (time.monotonic() + run.limits.last_start) / 2
        self._left: int | None = run.options.limit
        self._lock = threading.Lock()
        self._outage = threading.Event()
        self._failures = 0
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
        self.summary = Summary()

    def run(self) -> None:
        """Scan the lists; failures are added to `summary`."""
        with ThreadPoolExecutor(self._run.limits.concurrency, "scan") as pool:
            for product in self._products.in_use:
                try:
                    self._scan(product, pool)
                except RoomkeeperError as error:
                    self._fail(error)

    @property
    def changes_left(self) -> int | None:
        """The number of items that the run may still process; None without a limit."""
        return self._left

    def _scan(self, product: Product, pool: ThreadPoolExecutor) -> None:
        """Scan a product's list: first from an interrupted run's position, then from the start."""
        position = self._store.scans.position(product)
        with self._products.use(product) as api:
            is_complete = self._scan_from(position, product, api, pool)
            if is_complete and position:
                self._scan_from(0, product, api, pool)

    def _scan_from(
        self, position: int, product: Product, api: RecordingsApi, pool: ThreadPoolExecutor
    ) -> bool:
        """Scan a list from `position`; return True if its end was reached."""
        reached = position
        for page in api.all_since(self._since, position):
            if time.monotonic() >= self._ends_at or not self._compare(page, pool):
                return False
            reached = page.next_position
            self._save(product, reached)
        if reached:
            self._save(product, 0)
        return True

    def _save(self, product: Product, position: int) -> None:
        if not self._run.dry_run:
            self._store.scans.save(product, position)

    # --- one page ---------------------------------------------------------------------------------

    def _compare(self, page: Listed, pool: ThreadPoolExecutor) -> bool:
        """Store a page's differences; return True if the whole page was handled."""
        for message in page.invalid:
            self._fail(InvalidListEntry(f"In Vonage's list of all recordings: {message}"))
        known = self._look_up([each.recording_id for each in page.found], pool)
        self.counts["scanned"] += len(page.found) + len(page.invalid) + len(page.unrecognized)
        self.counts["unrecognized"] += len(page.unrecognized)
        changes = [
            (found, known.get(found.recording_id))
            for found in page.found
            if self._needs_a_change(found, known.get(found.recording_id))
        ]
        allowed = changes[: self._left]
        handled = list(pool.map(lambda change: self._handle(*change), allowed))
        if self._left is not None:
            self._left -= len(allowed)
        return all(handled) and len(allowed) == len(changes)

    def _look_up(
        self, ids: Sequence[str], pool: ThreadPoolExecutor
    ) -> Mapping[str, Recording | CorruptItem]:
        batches = [
            ids[start : start + _LOOKUP_BATCH] for start in range(0, len(ids), _LOOKUP_BATCH)
        ]
        found = pool.map(self._store.recordings.get_each, batches)
        return dict(itertools.chain.from_iterable(each.items() for each in found))

    def _needs_a_change(
        self, found: RecordingObservation, known: Recording | CorruptItem | None
    ) -> bool:
        if known is None:
            return not self._store.recordings.may_have_expired(found, self._run.now)
        if isinstance(known, CorruptItem):
            return True
        if known.deleted_at is not None:
            return False
        return (
            known.is_behind(found.event)
            or known.needs_confirmation
            or self._is_expiring(found, known)
        )

    def _is_expiring(self, found: RecordingObservation, known: Recording | None) -> bool:
        """Return True if Vonage will soon delete the only file, and no event announced it."""
        if found.event != "recording:uploaded" or found.expires_at is None:
            return False
        if known is not None and (known.copied_at or "recording:expiring" in known.seen):
            return False
        return found.expires_at <= self._expiring_until

    def _handle(self, found: RecordingObservation, known: Recording | CorruptItem | None) -> bool:
        """Store a recording's differences; return False if it is left for a later run."""
        if self._outage.is_set() or time.monotonic() >= self._run.limits.last_start:
            return False
        try:
            self._bring_up_to_date(found, known)
        except RoomkeeperError as error:
            self._fail(error)
            return error.is_item_specific
        with self._lock:
            self._failures = 0
        return True

    def _bring_up_to_date(
        self, found: RecordingObservation, known: Recording | CorruptItem | None
    ) -> None:
        if isinstance(known, CorruptItem):
            raise known
        if known is None or known.is_behind(found.event):
            if self._recovery.store(found):
                self._count(found, known)
        else:
            self._recovery.confirm(known)
        if self._is_expiring(found, known) and self._recovery.mark_expiring(found.recording_id):
            self._add("expiring")

    def _count(self, found: RecordingObservation, known: Recording | None) -> None:
        if found.event == "recording:expired":
            self._add("expired")
        if known is None:
            self._add("discovered")
        elif found.event != "recording:expired":
            self._add("recovered")

    def _add(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1

    def _fail(self, error: RoomkeeperError) -> None:
        logger.warning("scan failed", error=str(error), kind=type(error).__name__)
        with self._lock:
            self.summary.add_failure(str(error))
            self._failures += not (error.is_item_specific or isinstance(error, VonageError))
            if self._failures >= self._run.limits.consecutive_failures:
                self._outage.set()
