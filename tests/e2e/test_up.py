"""`make up` leaves a stack running, and every line that it prints to be pasted works."""

import os
from collections.abc import Iterator, Mapping

import pytest

from local.servers import free_port
from tests.commands import Told, run

pytestmark = pytest.mark.local_stack

EXPECTED: Mapping[str, str] = {
    "Post a callback yourself": "HTTP/1.1 204",
    "Have the emulated Vonage hold a meeting": '"recording_ids"',
    "See how its callbacks were answered": '"delivered"',
    "Ask the management API": '"rooms"',
    "Rehearse a cleanup": '"dry_run":true',
    "See what the table holds": "RECORDING#",
    "Store other credentials": "Vonage takes them",
    "Print the callback URL": "/callbacks/",
    "Publish dead letters": "0 dead letters sent",
    "End it all": "The local stack has ended.",
}
"""What is to be tried, by how it begins, and what is seen of it then."""


def shell(line: str) -> Told:
    """Run a line as one that is pasted into a shell, whatever that has been told of AWS."""
    left_out = ("MAKE", "MFLAGS", "ARGS", "AWS_")
    plain = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    return run(["sh", "-c", line], plain)


@pytest.fixture
def guide() -> Iterator[str]:
    """What `make up` prints."""
    ports = f"PORT={free_port()} VONAGE_PORT={free_port()}"
    told = shell(f"make --no-print-directory up {ports}")
    assert told.code == 0, told.text
    yield told.text
    shell(f"make down {ports}")


def test_what_make_up_prints_can_be_pasted(guide: str) -> None:
    _, _, to_try = guide.partition("Things to try")
    lines = [line.strip() for line in to_try.splitlines()[1:] if line]
    assert len(lines) == 2 * len(EXPECTED)
    for what, seen in EXPECTED.items():
        [place] = [number for number, line in enumerate(lines) if line.startswith(what)]
        told = shell(lines[place + 1])
        assert told.code == 0, f"{what}: {told.text}"
        assert seen in told.text.replace('": ', '":'), f"{what}: {told.text}"
