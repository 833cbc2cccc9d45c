"""The calls of a request to the management API share one deadline, however slow each of them is."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from local.testing.builders import AContext
from local.testing.template import environment, properties
from roomkeeper.aws import AwsError, sdk
from roomkeeper.aws.errors import OUT_OF_TIME
from roomkeeper.aws.retries import SECRET_RETRY, SHORT_TABLE_RETRY
from roomkeeper.handlers import management_api as app
from roomkeeper.vonage import ApiKey, NotDeletable, NotFound, Unavailable
from roomkeeper.vonage.calls import Call
from roomkeeper.vonage.connect import Clients
from roomkeeper.vonage.errors import RequestContext
from roomkeeper.vonage.meetings import MeetingsClient
from roomkeeper.vonage.retry import Deadline
from roomkeeper.vonage.transport import Transport
from roomkeeper.vonage.video import ClassicKey, VideoClient
from tests.support.management import call

TIMEOUT = float(properties("ManagementApi")["Timeout"])
ARCHIVE = {"id": "a", "sessionId": "session", "status": "available"}
SLOWEST_TABLE = SHORT_TABLE_RETRY.worst_case
SLOWEST_SECRETS = 2 * SECRET_RETRY.worst_case


@dataclass
class World:
    """Vonage's products and the table, with a clock that only their calls advance.

    Only the Video API has the recording. It refuses the first `refusals` deletions.
    """

    seconds: float
    """How long each call to Vonage takes."""
    table_seconds: float = 0.0
    secret_seconds: float = 0.0
    refusals: int = 0
    now: float = 0.0
    is_deleted: bool = False
    is_marked: bool = False

    def perform(self, call: Call, total_timeout: float) -> bytes:
        """Replaces Transport.perform."""
        self.now += max(0.0, min(self.seconds, total_timeout))
        if total_timeout < self.seconds:
            raise Unavailable("No response", call.context)
        if call.path.startswith("/recordings/"):
            raise NotFound("Vonage returned 404", self._refusal(call, 404))
        if call.method == "DELETE":
            self.refusals -= 1
            if self.refusals >= 0:
                raise NotDeletable("Vonage returned 409", self._refusal(call, 409))
            self.is_deleted = True
            return b""
        return json.dumps(ARCHIVE).encode()

    def _refusal(self, call: Call, status: int) -> RequestContext:
        return RequestContext(call.method, call.path, status, "refused")

    def connect(self) -> Clients:
        """Replaces the reading of the secrets."""
        self.now += self.secret_seconds
        return Clients(
            meetings=MeetingsClient(
                "http://vonage", ApiKey("key", "secret"), total_timeout=app.VONAGE_SECONDS
            ),
            video=VideoClient(
                "http://vonage", ClassicKey("1", "s" * 40), total_timeout=app.VONAGE_SECONDS
            ),
        )

    # --- the table --------------------------------------------------------------------------------

    def get_item(self, **_: Any) -> dict[str, Any]:
        self.now += self.table_seconds
        return {}

    def update_item(self, **_: Any) -> dict[str, Any]:
        self.now += self.table_seconds
        self.is_marked = True
        return {}


@pytest.fixture
def _container(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in environment("ManagementApi").items():
        monkeypatch.setenv(name, value)
    yield
    app._vonage_client.cache_clear()


def delete_in(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Delete the recording; return the status and the error's code."""
    monkeypatch.setattr(app, "Deadline", partial(Deadline, clock=lambda: world.now))
    monkeypatch.setattr(app, "_dynamodb", lambda: world)
    monkeypatch.setattr(app, "_vonage", world.connect)
    monkeypatch.setattr(Transport, "perform", lambda _, *arguments: world.perform(*arguments))
    response = call("DELETE /recordings/{recording_id}", "a")
    return response.status, response.code if response.status >= 400 else ""


@pytest.mark.usefixtures("_container")
@pytest.mark.parametrize("refusals", [0, 1, 2])
@pytest.mark.parametrize(
    ("table", "secrets"), [*itertools.product([0.01, SLOWEST_TABLE], [0.1, SLOWEST_SECRETS])]
)
def test_a_request_ends_in_time_and_marks_what_it_deleted(
    table: float, secrets: float, refusals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = set()
    for tenths in range(1, int(app.VONAGE_SECONDS * 10) + 1):
        world = World(tenths / 10, table, secrets, refusals)
        status, code = delete_in(world, monkeypatch)
        assert world.now <= TIMEOUT - app.RESPONSE_SECONDS
        assert world.is_marked == world.is_deleted == (status == 204)
        assert (status, code) in {
            (204, ""), (502, "vonage_refused_the_deletion"), (504, "vonage_unavailable"),
        }  # fmt: skip
        statuses.add(status)
    assert statuses - {504} == {204 if refusals < 2 else 502}


@pytest.mark.usefixtures("_container")
def test_a_request_without_time_for_the_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(0.1, secret_seconds=TIMEOUT - SLOWEST_TABLE)
    assert delete_in(world, monkeypatch) == (503, "unavailable")
    assert not world.is_deleted


def test_a_client_within_a_deadline_makes_no_call_that_might_end_after_it() -> None:
    left = [5.0, 4.9]
    world = World(0.0, table_seconds=1.0)
    client: Any = sdk.within(world, lambda: left.pop(0), 5.0)
    client.get_item(Key="first")
    with pytest.raises(AwsError, match=r"get_item: 4\.9 s are left, and it may take 5") as caught:
        client.get_item(Key="second")
    assert caught.value.code == OUT_OF_TIME
    assert caught.value.is_retryable
    assert world.now == 1.0


def test_the_functions_timeout_is_the_tests_one() -> None:
    assert AContext().get_remaining_time_in_millis() == TIMEOUT * 1000
