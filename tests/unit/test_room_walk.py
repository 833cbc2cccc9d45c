from collections.abc import Mapping

import pytest

from roomkeeper.domain.rooms import Room
from roomkeeper.jobs.room_scan import Walk
from roomkeeper.store import Checkpoint
from roomkeeper.vonage import InvalidResponse, RoomPage
from tests.support.memory import peak_of

Pages = Mapping[str | None, RoomPage]


def a_page(*room_ids: str, then: str | None = None) -> RoomPage:
    return RoomPage([Room(id=room_id) for room_id in room_ids], then, total_items=5)


PAGES: Pages = {None: a_page("a", "b", then="3"), "3": a_page("c", "d", then="5"), "5": a_page("e")}


def a_walk(checkpoint: Checkpoint | None = None, pages: Pages = PAGES) -> Walk:
    return Walk(lambda start_id: pages[start_id], checkpoint or Checkpoint())


def test_a_page_is_passed_once_all_its_rooms_are_worked_on() -> None:
    walk = a_walk()
    first = walk.read_on()
    a, b = first.to_do(first.rooms)
    assert walk.reached() == Checkpoint()
    first.done(a)
    assert walk.reached() == Checkpoint()
    first.done(b)

    assert walk.reached() == Checkpoint(start_id="3", walked=2)
    assert walk.left() == 3


def test_a_later_page_does_not_pass_an_earlier_one_that_is_not_done() -> None:
    walk = a_walk()
    first, second = walk.read_on(), walk.read_on()
    a, _b = first.to_do(first.rooms)
    for room in second.to_do(second.rooms):
        second.done(room)
    first.failed(a)

    assert walk.reached() == Checkpoint(failed=frozenset({"a"}))


def test_rooms_that_failed_where_the_last_run_stopped_are_passed_over_there_and_nowhere_else() -> (
    None
):
    walk = a_walk(Checkpoint(start_id="3", walked=2, failed=frozenset({"c", "e"})))
    second, third = walk.read_on(), walk.read_on()

    assert [room.id for room in second.to_do(second.rooms)] == ["d"]
    assert [room.id for room in third.to_do(third.rooms)] == ["e"]


def test_a_walk_that_is_done_leaves_nothing() -> None:
    walk = a_walk(Checkpoint(start_id="5", walked=4))
    stretch = walk.read_on()
    [room] = stretch.to_do(stretch.rooms)
    assert walk.left() == 1
    stretch.done(room)

    assert walk.ended
    assert walk.reached() is None
    assert walk.left() == 0


def test_pages_that_go_round_in_a_circle_end_the_walk() -> None:
    walk = a_walk(pages={None: a_page("a", then="2"), "2": a_page("b", then="2")})
    walk.read_on()

    with pytest.raises(InvalidResponse, match="circle"):
        walk.read_on()

    assert walk.ended
    assert walk.reached() is None


def read(walk: Walk, pages: int) -> None:
    for _ in range(pages):
        walk.read_on()


@pytest.mark.parametrize("before", range(5))
@pytest.mark.parametrize("around", [1, 2, 3, 10])
@pytest.mark.parametrize("start_id", [None, "0"])
def test_a_circle_is_found_wherever_it_begins(
    before: int, around: int, start_id: str | None
) -> None:
    def read_page(start_id: str | None) -> RoomPage:
        place = int(start_id or 0) + 1
        return a_page("a", then=str(place if place < before + around else before))

    walk = Walk(read_page, Checkpoint(start_id=start_id))

    with pytest.raises(InvalidResponse, match="circle"):
        read(walk, 3 * (before + around))


def test_a_walk_through_many_rooms_takes_no_more_memory_than_one_through_few() -> None:
    def walk_through(pages: int) -> None:
        def read_page(start_id: str | None) -> RoomPage:
            place = int(start_id or 0) + 1
            rooms = [f"{place}-{nth}" for nth in range(20)]
            return a_page(*rooms, then=str(place) if place < pages else None)

        walk = Walk(read_page, Checkpoint())
        while not walk.ended:
            stretch = walk.read_on()
            for room in stretch.to_do(stretch.rooms):
                stretch.done(room)
            walk.reached()

    assert peak_of(lambda: walk_through(5_000)) < 1.5 * peak_of(lambda: walk_through(50))
