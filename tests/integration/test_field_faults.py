"""The jobs and the management API against faults that HTTP services show in practice.

The handlers run as Lambda calls them. An alarm watches their Errors metric, so each must raise.

Responses are judged in two steps. The first looks at status, encoding and JSON, and is common to
all operations of a client. The second is the operation's own: the fields that its body must have,
and what a 404 means. So pairs suffice: each job's first request meets every foreign response, and
every other operation meets one of each kind (SAMPLES).
"""

import json
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import boto3
import pytest

from local.testing.builders import AContext
from roomkeeper.handlers import cleanup, reconciliation, room_extension
from roomkeeper.handlers import management_api as management
from roomkeeper.jobs.batch import BatchIncomplete
from roomkeeper.times import iso
from tests.support.env import TABLE, Env, an_upload
from tests.support.management import ParsedResponse, a_request_for

NOW = datetime.now(UTC).replace(microsecond=0)
SOON = iso(NOW + timedelta(days=2))
STOPS_AFTER = 2
ITEMS = STOPS_AFTER + 1

ENVIRONMENT = {
    "TABLE_NAME": TABLE,
    "DRY_RUN": "false",
    "RETENTION_DAYS": "30",
    "DELETED_RECORDING_DAYS": "90",
    "COPY_RECORDINGS": "false",
    "UPLOAD_GRACE_HOURS": "6",
    "HORIZON_HOURS": "96",
    "EXPIRING_NOTICE_HOURS": "12",
    "EVENT_DAYS": "30",
    "SESSION_DAYS": "400",
    "ONLY_ROOMS_USED_WITHIN_DAYS": "0",
    "EXTEND_WITHIN_DAYS": "7",
    "EXTEND_TO_DAYS": "30",
    "ROOM_SELECTION": "all",
    "KEEP_MARKER": "roomkeeper:keep",
    "LET_EXPIRE_MARKER": "roomkeeper:let-expire",
    "EXTEND_EXPIRE_AFTER_USE": "false",
    "JOB_CONCURRENCY": "1",
    "JOB_RATE_PER_SECOND": "1000",
    "JOB_CONSECUTIVE_FAILURES": str(STOPS_AFTER),
    "SERVED_PRODUCTS": "meetings",
    "COPY_BUCKET": "",
    "COPY_QUEUE_URL": "",
    "COPY_STORAGE_CLASS": "STANDARD",
    "COPY_DAYS": "0",
    "VONAGE_SECRET_ARN": "vonage",
    "AWS_DEFAULT_REGION": "eu-west-1",
}
HTML = "<html><body>Sign in to the network</body></html>"
NOT_FOUND = {"message": "Failed to find it", "name": "NotFoundError", "status": 404}

# Responses of proxies and others instead of Vonage's: none is about a recording or a room.
FOREIGN: dict[str, dict[str, Any]] = {
    "captive portal": {"status": 200, "body": HTML},
    "catch-all in JSON": {"body_json": {"status": "ok"}},
    "null": {"body_json": None},
    "empty list": {"body_json": []},
    "text": {"body_json": "text"},
    "UTF-16": {"body_json": NOT_FOUND, "encoding": "utf-16"},
    "false gzip": {"body": HTML, "headers": {"Content-Encoding": "gzip"}},
    "binary": {"body_base64": "AP8A/w=="},
    "redirect to a sign-in page": {"status": 302, "location": "https://sso.invalid/", "body": HTML},
    "firewall": {"status": 403, "body": HTML},
    "web server's 404": {"status": 404, "body": HTML},
    "nameless 404": {"status": 404, "body_json": {"message": "Not Found"}},
    "404 of UTF-16": {"status": 404, "body_json": NOT_FOUND, "encoding": "utf-16"},
    "404 whose body is null": {"status": 404, "body_json": None},
    "empty 404": {"status": 404, "body": ""},
    "empty 403": {"status": 403, "body": ""},
    "teapot": {"status": 418, "body": HTML},
    "gone": {"status": 410, "body_json": {"error": "gone"}},
}

SAMPLES = {
    name: FOREIGN[name]
    for name in (
        "captive portal",
        "catch-all in JSON",
        "empty list",
        "redirect to a sign-in page",
        "firewall",
        "nameless 404",
        "teapot",
    )
}
"""One foreign response of each kind: no JSON, JSON of another shape, each group of statuses."""


@pytest.fixture(autouse=True)
def _deployed(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (ENVIRONMENT | {"VONAGE_BASE_URL": env.vonage.api_url}).items():
        monkeypatch.setenv(name, value)
    boto3.client("secretsmanager").create_secret(
        Name="vonage", SecretString=json.dumps({"api_key": "key", "api_secret": "secret"})
    )
    forget_environment()


class Invocation(AContext):
    """An invocation with Lambda's maximum of 15 minutes left."""

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def forget_environment() -> None:
    """Clear the caches, so that the next invocation reads its settings again."""
    management._settings.cache_clear()
    management._dynamodb.cache_clear()
    management._vonage_client.cache_clear()


def prepare(env: Env) -> None:
    """Create more items for each job than the consecutive failures that stop a batch."""
    prepare_cleanup(env)
    prepare_reconciliation(env)
    env.vonage.add_rooms(ITEMS, expires_at=SOON)


def prepare_cleanup(env: Env) -> None:
    env.uploaded(ITEMS, NOW - timedelta(days=400))


def prepare_reconciliation(env: Env) -> None:
    for each in range(ITEMS):
        started = {"event": "recording:started", "recording_id": f"r{each}", "session_id": "s"}
        env.receive(started, NOW - timedelta(hours=7))


def items(env: Env) -> list[dict[str, Any]]:
    """Return the table's recordings in DynamoDB's JSON."""
    found = env.dynamodb.scan(TableName=TABLE)["Items"]
    return sorted(
        (item for item in found if item["pk"]["S"].startswith("RECORDING#")),
        key=lambda item: str(item["pk"]),
    )


def run(app: ModuleType) -> str:
    """Return the message of the error that a scheduled run raises."""
    with pytest.raises(BatchIncomplete) as caught:
        app.handler({}, Invocation())
    return str(caught.value)


@pytest.mark.parametrize("fault", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_response_to_deletions_deletes_nothing_and_raises(
    fault: dict[str, Any], env: Env
) -> None:
    prepare_cleanup(env)
    before, at_vonage = items(env), env.left_at_vonage()
    env.vonage.fault("*", **fault)

    message = run(cleanup)

    assert f"failed {STOPS_AFTER}, stopped by failures" in message
    assert items(env) == before
    assert env.left_at_vonage() == at_vonage
    assert [each["method"] for each in env.vonage.requests()] == ["DELETE"] * STOPS_AFTER


@pytest.mark.parametrize("fault", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_response_about_sessions_loses_no_recording_and_raises(
    fault: dict[str, Any], env: Env
) -> None:
    prepare_reconciliation(env)
    before = items(env)
    env.vonage.fault("*", **fault)

    message = run(reconciliation)

    assert f"failed {STOPS_AFTER}, stopped by failures" in message
    assert items(env) == before
    assert len(env.vonage.requests()) == STOPS_AFTER


@pytest.mark.parametrize("fault", SAMPLES.values(), ids=SAMPLES)
def test_a_foreign_response_about_recordings_loses_none(fault: dict[str, Any], env: Env) -> None:
    """Vonage's own 404 for the session, another service's 404 for the recording."""
    prepare_reconciliation(env)
    before = items(env)
    env.vonage.fault("get_recording", **fault)

    assert f"failed {STOPS_AFTER}, stopped by failures" in run(reconciliation)
    assert items(env) == before


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        *(pytest.param("list_rooms", fault, id=f"list-{name}") for name, fault in FOREIGN.items()),
        *(
            pytest.param("update_room", fault, id=f"update-{name}")
            for name, fault in SAMPLES.items()
        ),
    ],
)
def test_a_foreign_response_about_rooms_extends_none_and_raises(
    operation: str, fault: dict[str, Any], env: Env
) -> None:
    env.vonage.add_rooms(ITEMS, expires_at=SOON)
    before = env.vonage.rooms()
    env.vonage.fault(operation, **fault)

    message = run(room_extension)

    stop = f"failed {STOPS_AFTER}, stopped by failures"
    expected = stop if operation == "update_room" else "nothing done, stopped by read_error"
    assert expected in message
    assert env.vonage.rooms() == before
    assert not any(
        item["pk"]["S"].startswith("EVENT#") for item in env.dynamodb.scan(TableName=TABLE)["Items"]
    )


def test_a_byte_order_mark_before_every_response_disturbs_no_job(env: Env) -> None:
    prepare(env)
    env.receive(an_upload("gone"), NOW - timedelta(days=400))
    env.vonage.fault("*", encoding="utf-8-sig")

    cleaned = cleanup.handler({}, Invocation())
    reconciled = reconciliation.handler({}, Invocation())
    extended = room_extension.handler({}, Invocation())

    assert (cleaned["deleted"], cleaned["already_deleted"], cleaned["failed"]) == (ITEMS, 1, 0)
    assert (reconciled["lost"], reconciled["failed"]) == (ITEMS, 0)
    assert (extended["extended"], extended["failed"]) == (ITEMS, 0)


@pytest.mark.parametrize(
    "app", [cleanup, reconciliation, room_extension], ids=lambda app: app.__name__
)
def test_a_self_signed_certificate_is_named_and_not_retried(
    app: ModuleType, env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(env)
    before = items(env)
    monkeypatch.setenv("VONAGE_BASE_URL", env.vonage.https_api_url())
    forget_environment()

    message = run(app)

    assert "certificate is not trusted: self-signed certificate" in message
    assert "status page" not in message
    stop = (
        "nothing done, stopped by read_error" if app is room_extension else f"failed {STOPS_AFTER}"
    )
    assert stop in message
    assert items(env) == before
    assert env.vonage.requests() == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_deletion_whose_response_was_lost_is_recognized_by_the_next_attempt(
    chunked: bool, env: Env
) -> None:
    [recording_id] = env.uploaded(1, NOW - timedelta(days=400))
    env.vonage.fault(
        "delete_recording", body=HTML, truncate=5, chunked=chunked, after=True, times=1
    )

    report = cleanup.handler({}, Invocation())

    assert (report["already_deleted"], report["failed"]) == (1, 0)
    assert env.left_at_vonage() == set()
    assert env.store.recordings.get(recording_id).deleted_at is not None  # type: ignore[union-attr]


# --- the management API ---------------------------------------------------------------------------


def rooms_page(**query: str) -> ParsedResponse:
    response = management.handler(a_request_for("GET /rooms", **query), AContext())
    return ParsedResponse(response["statusCode"], json.loads(response["body"]), response["headers"])


def test_a_page_of_rooms_shows_the_valid_ones_and_counts_the_others(env: Env) -> None:
    ids = env.vonage.add_rooms(12, expires_at=SOON)
    bad = [
        {"element": ids[3], "fields": {"metadata": {"team": "a"}}},
        {"element": ids[5], "fields": {"expires_at": 5}},
        {"element": ids[7], "value": None},
    ]
    env.vonage.fault("list_rooms", elements=bad)

    response = rooms_page()

    assert response.status == 200
    shown = {room["id"]: room for room in response.body["rooms"]}
    assert list(shown) == [room_id for room_id in ids if room_id not in (ids[5], ids[7])]
    assert shown[ids[3]]["metadata"] == '{"team":"a"}'
    assert (response.body["invalid_rooms"], response.body["total_items"]) == (2, 12)


@pytest.mark.parametrize("count", [0, 5, 6])
def test_the_cursor_ends_with_an_empty_page_that_links_to_itself(env: Env, count: int) -> None:
    env.vonage.settings(list_end="empty_page")
    if count:
        env.vonage.add_rooms(count)
    seen, query = 0, {"page_size": "3"}
    for _ in range(10):
        page = rooms_page(**query).body
        seen += len(page["rooms"])
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert (seen, page["next_cursor"]) == (count, None)


@pytest.mark.parametrize("fault", SAMPLES.values(), ids=SAMPLES)
def test_a_foreign_response_to_a_managed_deletion_is_an_error(
    fault: dict[str, Any], env: Env
) -> None:
    [recording_id] = env.uploaded(1, NOW)
    [room_id] = env.vonage.add_rooms(1)
    before = items(env)
    env.vonage.fault("*", **fault)

    for route, id_ in (
        ("DELETE /recordings/{recording_id}", recording_id),
        ("DELETE /rooms/{room_id}", room_id),
    ):
        response = management.handler(a_request_for(route, id_), AContext())
        error = json.loads(response["body"])["error"]["code"]
        assert (response["statusCode"], error) == (502, "vonage_invalid_response")
    assert items(env) == before
