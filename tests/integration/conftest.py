from collections.abc import Iterator

import pytest

from local import vonage
from local.vonage import VonageControl
from roomkeeper.vonage.meetings import MeetingsClient
from tests.integration.vonage_support import KEY, SHORT_DELAYS


@pytest.fixture(scope="module")
def _emulator() -> Iterator[VonageControl]:
    with vonage.running() as control:
        yield control


@pytest.fixture
def emulator(_emulator: VonageControl) -> VonageControl:
    """An emulator without rooms, recordings or faults."""
    _emulator.reset()
    return _emulator


@pytest.fixture
def client(emulator: VonageControl) -> Iterator[MeetingsClient]:
    with MeetingsClient(
        emulator.api_url, KEY, total_timeout=60, timeout=30, retry=SHORT_DELAYS
    ) as made:
        yield made
