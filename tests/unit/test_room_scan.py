from collections.abc import Mapping

import pytest

from roomkeeper.domain.rooms import Room
from roomkeeper.jobs.room_scan import RoomScan
from roomkeeper.store import Checkpoint
from roomkeeper.vonage import InvalidResponse
from roomkeeper.vonage.meetings import RoomPage
from tests.support.memory import peak_of

Pages = Mapping[str | None, RoomPage]


def a_page(*room_ids: str, next_start: str | None = None) -> RoomPage:
    return RoomPage([Room(id=room_id) for room_id in room_ids], next_start, total_items=5)


PAGES: Pages = {
    None: a_page("a", "b", next_start="3"),
    "3": a_page("c", "d", next_start="5"),
    "5": a_page("e"),
}


def a_scan(checkpoint: Checkpoint | None = None, pages: Pages = PAGES) -> RoomScan:
    return RoomScan(lambda start_id: pages[start_id], checkpoint or Checkpoint())


def test_the_checkpoint_passes_a_page_once_all_its_rooms_are_handled() -> None:
    scan = a_scan()
    first = scan.next_page()
    a, b = first.pending(first.rooms)
    assert scan.checkpoint_reached() == Checkpoint()
    first.mark_done(a)
    assert scan.checkpoint_reached() == Checkpoint()
    first.mark_done(b)

    assert scan.checkpoint_reached() == Checkpoint(start_id="3", scanned=2)
    assert scan.remaining() == 3


def test_a_finished_page_does_not_move_the_checkpoint_past_an_unfinished_one() -> None:
    scan = a_scan()
    first, second = scan.next_page(), scan.next_page()
    a, _b = first.pending(first.rooms)
    for room in second.pending(second.rooms):
        second.mark_done(room)
    first.mark_failed(a)

    assert scan.checkpoint_reached() == Checkpoint(failed=frozenset({"a"}))


def test_rooms_that_failed_in_the_last_run_are_skipped_only_on_the_checkpoints_page() -> None:
    scan = a_scan(Checkpoint(start_id="3", scanned=2, failed=frozenset({"c", "e"})))
    second, third = scan.next_page(), scan.next_page()

    assert [room.id for room in second.pending(second.rooms)] == ["d"]
    assert [room.id for room in third.pending(third.rooms)] == ["e"]


def test_a_finished_scan_has_no_checkpoint_and_nothing_remaining() -> None:
    scan = a_scan(Checkpoint(start_id="5", scanned=4))
    page = scan.next_page()
    [room] = page.pending(page.rooms)
    assert scan.remaining() == 1
    page.mark_done(room)

    assert scan.ended
    assert scan.checkpoint_reached() is None
    assert scan.remaining() == 0


def test_page_links_that_form_a_loop_end_the_scan_after_the_rooms_of_all_pages() -> None:
    scan = a_scan(pages={None: a_page("a", next_start="2"), "2": a_page("b", next_start="2")})
    assert [room.id for _ in range(2) for room in scan.next_page().rooms] == ["a", "b"]
    assert scan.checkpoint_reached() is None

    with pytest.raises(InvalidResponse, match="loop"):
        scan.next_page()

    assert scan.ended
    assert scan.checkpoint_reached() is None


def read_pages(scan: RoomScan, pages: int) -> None:
    for _ in range(pages):
        scan.next_page()


@pytest.mark.parametrize("before", range(5))
@pytest.mark.parametrize("length", [1, 2, 3, 10])
@pytest.mark.parametrize("start_id", [None, "0"])
def test_a_loop_of_pages_is_found_wherever_it_starts(
    before: int, length: int, start_id: str | None
) -> None:
    def read_page(start_id: str | None) -> RoomPage:
        page = int(start_id or 0) + 1
        return a_page("a", next_start=str(page if page < before + length else before))

    scan = RoomScan(read_page, Checkpoint(start_id=start_id))

    with pytest.raises(InvalidResponse, match="loop"):
        read_pages(scan, 3 * (before + length))


def test_memory_does_not_grow_with_the_number_of_rooms() -> None:
    def scan_all(pages: int) -> None:
        def read_page(start_id: str | None) -> RoomPage:
            page = int(start_id or 0) + 1
            # Not by a_page: Python 3.11 and 3.12 keep the memory of 2,000 tuples of arguments.
            rooms = [Room(id=f"{page}-{nth}") for nth in range(20)]
            return RoomPage(rooms, str(page) if page < pages else None, total_items=5)

        scan = RoomScan(read_page, Checkpoint())
        while not scan.ended:
            page = scan.next_page()
            for room in page.pending(page.rooms):
                page.mark_done(room)
            scan.checkpoint_reached()

    assert peak_of(lambda: scan_all(1_500)) < 1.5 * peak_of(lambda: scan_all(50))
