"""A paginator over all rooms that one run interrupts and the next one continues.

The checkpoint moves past a page only when all its rooms were handled, so an interrupted run skips
none.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from roomkeeper.domain.rooms import Room
from roomkeeper.store import Checkpoint
from roomkeeper.vonage import BadRequest, InvalidResponse, NotFound
from roomkeeper.vonage.errors import RequestContext
from roomkeeper.vonage.meetings import InvalidRoom, RoomPage

ReadPage = Callable[[str | None], RoomPage]


class PageProgress:
    """The rooms of one page, and which of them are still pending. Thread-safe.

    Args:
        start: the checkpoint from which a scan continues at this page.
        rooms: the page's rooms.
        invalid: the page's elements that could not be read as rooms.
    """

    def __init__(
        self, start: Checkpoint, rooms: Sequence[Room], invalid: Sequence[InvalidRoom] = ()
    ) -> None:
        self.rooms = rooms
        self.invalid = invalid
        self._start = start
        self._failed = set(start.failed)
        self._pending: set[str] = set()

    @property
    def start_id(self) -> str | None:
        """The page's `start_id`; None for the first page."""
        return self._start.start_id

    def pending(self, rooms: Iterable[Room]) -> list[Room]:
        """Mark `rooms` as pending and return them, without those that failed in the last run.

        Many failing rooms would otherwise stop every run at this page. The next scan retries them.
        """
        pending = [room for room in rooms if room.id not in self._failed]
        self._pending.update(room.id for room in pending)
        return pending

    def mark_done(self, room: Room) -> None:
        """Record that this scan is finished with the room."""
        self._pending.discard(room.id)

    def mark_failed(self, room: Room) -> None:
        """Record that the room failed. It is no longer pending."""
        self._failed.add(room.id)
        self._pending.discard(room.id)

    def checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint for reading the page again; None if no room of it is pending."""
        if not self._pending:
            return None
        return Checkpoint(
            start_id=self._start.start_id,
            scanned=self._start.scanned,
            failed=frozenset(self._failed),
        )


class _CycleDetector:
    """Detects a loop in the page links with Brent's algorithm, in constant memory.

    It remembers one page and replaces it after 1, 2, 4, 8 and so on pages. Some pages may be read
    more than once before a loop is found. That is harmless: extended rooms are no longer due.
    """

    def __init__(self, start_id: str | None) -> None:
        self._remembered = start_id
        self._steps = 0
        self._max_steps = 1

    def closes_cycle(self, start_id: str | None) -> bool:
        """Return True if the link to the page `start_id` leads back to the remembered page."""
        if start_id == self._remembered:
            return True
        self._steps += 1
        if self._steps == self._max_steps:
            self._remembered, self._steps, self._max_steps = start_id, 0, 2 * self._max_steps
        return False


class RoomScan:
    """A scan that continues from a checkpoint. `read_page` returns the page at a `start_id`."""

    def __init__(self, read_page: ReadPage, checkpoint: Checkpoint) -> None:
        self._read_page = read_page
        self._next = checkpoint
        self._unfinished: deque[PageProgress] = deque()
        self._cycle: _CycleDetector | None = None
        self._loops = False
        self._total = 0
        self.ended = False
        """True once the last page was read."""

    def next_page(self) -> PageProgress:
        """Read the next page and return its rooms.

        Raises:
            VonageError: the page cannot be read, or it is an earlier one, which ends the scan.
        """
        if self._loops:
            self.ended = True
            message = "The page links of the list of rooms form a loop"
            raise InvalidResponse(message, RequestContext("GET", "/rooms"))
        page = self._read()
        start = self._next
        self._cycle = self._cycle or _CycleDetector(start.start_id)
        self.ended = page.next_start_id is None
        self._loops = not self.ended and self._cycle.closes_cycle(page.next_start_id)
        self._total = page.total_items or 0
        self._next = Checkpoint(
            start_id=page.next_start_id,
            scanned=start.scanned + len(page.rooms) + len(page.invalid),
        )
        self._unfinished.append(PageProgress(start, page.rooms, page.invalid))
        return self._unfinished[-1]

    def _read(self) -> RoomPage:
        try:
            return self._read_page(self._next.start_id)
        except (NotFound, BadRequest):
            if self._cycle or self._next.start_id is None:
                raise
            # The saved start_id no longer exists, so the scan starts over.
            self._next = Checkpoint()
            return self._read_page(None)

    def checkpoint_reached(self) -> Checkpoint | None:
        """Return the checkpoint from which the next run continues; None if the scan is complete."""
        while self._unfinished:
            checkpoint = self._unfinished[0].checkpoint()
            if checkpoint is not None:
                return checkpoint
            self._unfinished.popleft()
        return None if self.ended or self._loops else self._next

    def remaining(self) -> int:
        """Return how many rooms are left for the next run, according to Vonage's total."""
        checkpoint = self.checkpoint_reached()
        return max(self._total, self._next.scanned) - checkpoint.scanned if checkpoint else 0

    def unlisted(self) -> int:
        """Return how many rooms Vonage counts but lists on no page; 0 before the last page."""
        return max(0, self._total - self._next.scanned) if self.ended else 0
