"""The room-expiry extender on the deployed stack: by schedule, over HTTP, and on failures."""

import json
import secrets
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.clients import jobs
from local.waiting import wait_until
from roomkeeper.times import from_iso, iso
from tests.support import functions
from tests.support.deployed import WITHIN, Deployed
from tests.support.suites import LOCAL

pytestmark = pytest.mark.local_stack

DAY = timedelta(days=1)
KEEP = "roomkeeper:keep"
JOB = "room-extension"
AWS_LOG = LOCAL / "local.aws.log"
REFUSAL = "The schedule's role does not allow it to start"
FAST = {"JOB_RATE_PER_SECOND": "100", "JOB_CONCURRENCY": "16"}


class RoomExtension:
    """The deployed function and the rooms at Vonage."""

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self.name = deployed.stack.outputs["RoomExpiryExtenderName"]
        self._lambda = deployed.stack.client("lambda")

    def run(self, **options: Any) -> dict[str, Any]:
        """Invoke the function as its schedule does; return its report or its error."""
        response = self._lambda.invoke(FunctionName=self.name, Payload=json.dumps(options))
        report: dict[str, Any] = json.loads(response["Payload"].read())
        return report

    def configured(self, **variables: str) -> AbstractContextManager[None]:
        """Change variables of the function's environment within the context."""
        return functions.configured(self.deployed, self.name, **variables)

    def kill(self) -> None:
        """Kill the function's process: the local AWS does so when a variable changes."""
        with self.configured(KILLED=secrets.token_hex(4)):
            pass

    def patched(self) -> int:
        """Return the number of successful extensions at Vonage."""
        asked = self.deployed.vonage.requests()
        return sum(each["operation"] == "update_room" and each["status"] == 200 for each in asked)

    def expiries(self) -> dict[str, datetime]:
        return {room["id"]: from_iso(room["expires_at"]) for room in self.deployed.vonage.rooms()}


@pytest.fixture
def extender(deployed: Deployed) -> Iterator[RoomExtension]:
    yield RoomExtension(deployed)
    deployed.vonage.clear_faults()


def rooms_of_all_kinds(deployed: Deployed) -> tuple[set[str], set[str]]:
    """Create 1,000 rooms; return the ids of those that the policy selects, and of the others."""
    now = datetime.now(UTC)
    soon, old = iso(now + 2 * DAY), iso(now - (5 * 365 - 15) * DAY)
    after_use = {"expires_at": soon, "expire_after_use": True}
    selected: list[tuple[int, dict[str, Any]]] = [
        (30, {"expires_at": soon, "metadata": f"Maths {KEEP}"}),
        (5, after_use | {"metadata": KEEP}),
        (5, {"expires_at": soon, "created_at": old, "metadata": KEEP}),
    ]
    others: list[tuple[int, dict[str, Any]]] = [
        (15, {"expires_at": soon}),
        (15, {"expires_at": iso(now + 90 * DAY), "metadata": KEEP}),
        (10, {"expires_at": iso(now - DAY), "created_at": iso(now - 30 * DAY), "metadata": KEEP}),
        (10, {"type": "instant", "metadata": KEEP}),
        (5, {"expires_at": soon, "deleted": True, "metadata": KEEP}),
        (5, after_use),
    ]
    wanted, unwanted = set[str](), set[str]()
    for _ in range(10):
        for ids, kinds in ((wanted, selected), (unwanted, others)):
            for count, fields in kinds:
                ids.update(deployed.vonage.add_rooms(count, **fields))
    return wanted, unwanted


def test_exactly_the_selected_rooms_are_extended_once_despite_failures_and_a_kill(
    extender: RoomExtension, deployed: Deployed
) -> None:
    selected, others = rooms_of_all_kinds(deployed)
    before = extender.expiries()
    for seed, operation in enumerate(("list_rooms", "get_room", "update_room")):
        deployed.vonage.fault(operation, status=503, probability=0.1, seed=seed)
        deployed.vonage.fault(operation, reset=True, after=True, probability=0.1, seed=seed + 10)

    with extender.configured(**FAST), ThreadPoolExecutor(1) as pool:
        made = extender.patched()
        killed = pool.submit(extender.run)
        assert wait_until(lambda: extender.patched() > made + 100, WITHIN, interval=0.2)
        extender.kill()
        assert "errorMessage" in killed.result()
        reached = extender.expiries()
        assert any(reached[room_id] == before[room_id] for room_id in selected)
        reports = [extender.run()]
        while reports[-1].get("extended") != 0 or reports[-1].get("completed") != 0:
            reports.append(extender.run())
            assert len(reports) < 10
    deployed.vonage.clear_faults()

    after = extender.expiries()
    changed = {room_id for room_id in selected | others if after[room_id] != before[room_id]}
    assert changed == selected
    events = deployed.events_about(*selected | others, count=len(selected))
    extended = [event["detail"]["data"] for event in events]
    assert {event["detail-type"] for event in events} == {"room:extended"}
    assert Counter(data["room_id"] for data in extended) == Counter(selected)
    for data in extended:
        assert from_iso(data["expires_at"]) == after[data["room_id"]]
        assert from_iso(data["previous_expires_at"]) == before[data["room_id"]]
    assert len({event["detail"]["metadata"]["event_id"] for event in events}) == len(selected)


def test_a_run_over_http_needs_a_signature_and_can_be_a_dry_run(
    extender: RoomExtension, deployed: Deployed
) -> None:
    soon = iso(datetime.now(UTC) + 2 * DAY)
    [room_id] = deployed.vonage.add_rooms(1, expires_at=soon, metadata=KEEP)

    unsigned = jobs.post(deployed.stack, JOB, {}, sign=False)
    response = jobs.post(deployed.stack, JOB, {"dry_run": True})

    assert unsigned.status_code == 403
    assert response.status_code == 200
    report = response.json()
    assert (report["dry_run"], report["extended"]) == (True, 0)
    [planned] = [each for each in report["planned"] if each["room_id"] == room_id]
    assert planned["verdict"] == "extend"
    assert planned["reason"] == "expires within 7 days"
    assert extender.expiries()[room_id] == from_iso(soon)
    assert jobs.post(deployed.stack, JOB, {"dry": True}).status_code == 400

    assert jobs.post(deployed.stack, JOB, {}).json()["extended"] >= 1
    assert extender.expiries()[room_id] >= from_iso(planned["new_expires_at"])


def test_only_rooms_with_a_recent_session_are_extended(
    extender: RoomExtension, deployed: Deployed
) -> None:
    soon = iso(datetime.now(UTC) + 2 * DAY)
    used, unused = deployed.vonage.add_rooms(2, expires_at=soon, metadata=KEEP)
    deployed.vonage.hold_meeting(used)

    with extender.configured(ONLY_ROOMS_USED_WITHIN_DAYS="14", **FAST):
        report = extender.run()

    assert report["unused"] >= 1
    assert extender.expiries()[used] > from_iso(soon) + 20 * DAY
    assert extender.expiries()[unused] == from_iso(soon)


def test_the_schedule_starts_a_run(extender: RoomExtension, deployed: Deployed) -> None:
    soon = iso(datetime.now(UTC) + 2 * DAY)
    [room_id] = deployed.vonage.add_rooms(1, expires_at=soon, metadata=KEEP)

    with scheduled(deployed, "rate(1 minute)"):
        assert wait_until(lambda: extender.expiries()[room_id] != from_iso(soon), WITHIN)

    [event] = deployed.events_about(room_id, count=1)
    assert event["detail-type"] == "room:extended"
    assert event["detail"]["metadata"]["origin"] == "extension"


@contextmanager
def scheduled(deployed: Deployed, expression: str) -> Iterator[None]:
    scheduler = deployed.stack.client("scheduler")
    known = the_schedule(deployed)
    scheduler.update_schedule(**known | {"ScheduleExpression": expression})
    try:
        yield
    finally:
        scheduler.update_schedule(**known)


def the_schedule(deployed: Deployed) -> dict[str, Any]:
    known = deployed.stack.client("scheduler").get_schedule(
        Name=deployed.id_of("RoomExpiryExtenderJob/Schedule")
    )
    wanted = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    return {name: known[name] for name in wanted}


def test_a_schedule_starts_nothing_that_its_role_does_not_allow(
    extender: RoomExtension, deployed: Deployed
) -> None:
    """With another function's role the local AWS logs a refusal, and no room is extended."""
    soon = iso(datetime.now(UTC) + 2 * DAY)
    [room_id] = deployed.vonage.add_rooms(1, expires_at=soon, metadata=KEEP)
    known = the_schedule(deployed)
    client = deployed.stack.client("lambda")
    other = client.get_function_configuration(FunctionName=extender.name)["Role"]
    scheduler, name = deployed.stack.client("scheduler"), f"once-{secrets.token_hex(4)}"
    refusals = AWS_LOG.read_text().count(REFUSAL)

    scheduler.create_schedule(
        **known
        | {
            "Name": name,
            "ScheduleExpression": f"at({datetime.now(UTC):%Y-%m-%dT%H:%M:%S})",
            "Target": known["Target"] | {"RoleArn": other},
        }
    )
    try:
        assert wait_until(lambda: AWS_LOG.read_text().count(REFUSAL) > refusals, WITHIN)
    finally:
        scheduler.delete_schedule(Name=name)
    assert extender.expiries()[room_id] == from_iso(soon)
