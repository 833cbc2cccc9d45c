"""A walk through all rooms, page by page, that one run leaves off and the next goes on with.

Only pages whose rooms were all worked on are passed: whatever ends a run, no room is left out.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from roomkeeper.domain.rooms import Room
from roomkeeper.store import Checkpoint
from roomkeeper.vonage import BadRequest, InvalidResponse, InvalidRoom, NotFound, RoomPage
from roomkeeper.vonage.errors import RequestContext

ReadPage = Callable[[str | None], RoomPage]


class PageProgress:
    """The rooms of one page, and what is still to be done there. Safe to use from many threads.

    `begins` is the checkpoint at which a walk comes to this page; `invalid` are the elements of the
    page that could not be read as rooms.
    """

    def __init__(
        self, start: Checkpoint, rooms: Sequence[Room], invalid: Sequence[InvalidRoom] = ()
    ) -> None:
        self.rooms = rooms
        self.invalid = invalid
        self._start = start
        self._failed = set(start.failed)
        self._open: set[str] = set()

    @property
    def start_id(self) -> str | None:
        """Where the page starts; None for the first one."""
        return self._start.start_id

    def pending(self, rooms: Iterable[Room]) -> list[Room]:
        """Return those of `rooms` to be worked on: not those that the last run tried in vain.

        They would stop every run at this page, were there many of them; the next walk tries again.
        """
        wanted = [room for room in rooms if room.id not in self._failed]
        self._open.update(room.id for room in wanted)
        return wanted

    def mark_done(self, room: Room) -> None:
        """Note that the room needs nothing more in this walk."""
        self._open.discard(room.id)

    def mark_failed(self, room: Room) -> None:
        """Note that the room was tried in vain."""
        self._failed.add(room.id)
        self._open.discard(room.id)

    def checkpoint(self) -> Checkpoint | None:
        """Return where the walk has to come back to; None when all is done here."""
        if not self._open:
            return None
        return Checkpoint(
            start_id=self._start.start_id,
            walked=self._start.walked,
            failed=frozenset(self._failed),
        )


class _CycleDetector:
    """Finds out that a way goes round in a circle, from one place on it that moves up (Brent).

    It moves up after 1, 2, 4, 8 and so on pages: once it lies on the circle, and stays for longer
    than that is around, the way comes by it again. Until then some pages are read more than once,
    which does no harm: rooms that were extended are no longer due. A list of all places would grow.
    """

    def __init__(self, start_id: str | None) -> None:
        self._mark = start_id
        self._since = 0
        self._patience = 1

    def closes_cycle(self, start_id: str | None) -> bool:
        """Return whether the way, which now comes to `start_id`, is known to have been there."""
        if start_id == self._mark:
            return True
        self._since += 1
        if self._since == self._patience:
            self._mark, self._since, self._patience = start_id, 0, 2 * self._patience
        return False


class RoomScan:
    """A walk that goes on from a checkpoint; `read_page` returns the page that starts there."""

    def __init__(self, read_page: ReadPage, checkpoint: Checkpoint) -> None:
        self._read_page = read_page
        self._ahead = checkpoint
        self._open: deque[PageProgress] = deque()
        self._circle: _CycleDetector | None = None
        self._total = 0
        self.ended = False
        """Whether the last page was read."""

    def next_page(self) -> PageProgress:
        """Return the next page's rooms.

        Raises:
            VonageError: the page cannot be read. One that leads back ends the walk.
        """
        page = self._read()
        start = self._ahead
        self._circle = self._circle or _CycleDetector(start.start_id)
        self.ended = page.next_start_id is None
        if not self.ended and self._circle.closes_cycle(page.next_start_id):
            self.ended = True
            told = "The pages of rooms go round in a circle"
            raise InvalidResponse(told, RequestContext("GET", "/rooms"))
        self._total = page.total_items or 0
        self._ahead = Checkpoint(
            start_id=page.next_start_id,
            walked=start.walked + len(page.rooms) + len(page.invalid),
        )
        self._open.append(PageProgress(start, page.rooms, page.invalid))
        return self._open[-1]

    def _read(self) -> RoomPage:
        try:
            return self._read_page(self._ahead.start_id)
        except (NotFound, BadRequest):
            if self._circle or self._ahead.start_id is None:
                raise
            # Where the last run stopped is no place any more: the walk begins anew.
            self._ahead = Checkpoint()
            return self._read_page(None)

    def checkpoint_reached(self) -> Checkpoint | None:
        """Return where the next run has to go on; None when this walk is done."""
        while self._open:
            checkpoint = self._open[0].checkpoint()
            if checkpoint is not None:
                return checkpoint
            self._open.popleft()
        return None if self.ended else self._ahead

    def remaining(self) -> int:
        """Return how many rooms are left for the next run, as far as Vonage tells their number."""
        checkpoint_reached = self.checkpoint_reached()
        return (
            max(self._total, self._ahead.walked) - checkpoint_reached.walked
            if checkpoint_reached
            else 0
        )

    def unlisted(self) -> int:
        """Return how many rooms Vonage counts beyond those on all pages; 0 before the last page."""
        return max(0, self._total - self._ahead.walked) if self.ended else 0
