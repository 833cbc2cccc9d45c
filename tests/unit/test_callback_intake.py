import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import pytest
from awscrt.http import HttpClientConnection
from jwt import InsecureKeyLengthWarning

from local.testing.builders import (
    ABSENT,
    PUBLISHED,
    RECORDING_ID,
    SESSION_ID,
    SIGNATURE_SECRET,
    TOKEN,
    AContext,
    a_body,
    a_callback,
    a_request,
    a_signature,
    sample,
)
from local.testing.sdk import CUT_OFF, LONG_TIMEOUT, endpoints, record_calls
from local.testing.template import ROOT, environment
from roomkeeper.aws import RetryPolicy, crt, sdk
from roomkeeper.handlers import callback_intake as app
from roomkeeper.log_sample import LogSample
from roomkeeper.store import Store, correlation
from tests.unit.conftest import Output, Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

LAYER = f"{ROOT}/layers/roomkeeper/roomkeeper/"
OTHER = "another-secret-of-sufficient-length"
Response = dict[str, Any]


@pytest.fixture(scope="module")
def secrets(moto: None) -> "SecretsManagerClient":
    return sdk.secrets_manager(LONG_TIMEOUT)


@pytest.fixture(autouse=True)
def secret_id(
    secrets: "SecretsManagerClient",
    table: Table,
    moto_server: str,
    patient_intake: None,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Set up the function with the template's environment, a secret and a table."""
    content = json.dumps({"token": TOKEN, "signature_secret": SIGNATURE_SECRET})
    arn = secrets.create_secret(Name=table.name, SecretString=content)["ARN"]
    ours = {"TABLE_NAME": table.name, "CALLBACK_SECRET_ARN": arn}
    for name, value in (environment("CallbackIntake") | endpoints(moto_server) | ours).items():
        monkeypatch.setenv(name, value)
    return arn


@pytest.fixture
def calls(moto: None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the calls to AWS, in order."""
    return record_calls(monkeypatch)


def response_to(request: Any) -> Response:
    response: Response = app.handler(request, AContext())
    return response


def error_of(response: Response) -> dict[str, str]:
    """Return the error in a response, after checking the form of all errors."""
    assert response["headers"]["Content-Type"] == "application/json"
    body = json.loads(response["body"])
    assert body.keys() == {"error"}
    error: dict[str, str] = body["error"]
    assert error.keys() == {"code", "message"}
    return error


def kept(table: Table) -> list[str]:
    return [item["pk"]["S"].partition("#")[0] for item in table.items()]


# --- accepted callbacks ---------------------------------------------------------------------------


@pytest.mark.parametrize("event", [*PUBLISHED, "recording:ready", "participant:joined"])
def test_every_callback_is_accepted_once_it_is_in_the_table(event: str, table: Table) -> None:
    assert response_to(a_request(a_body(event))) == {"statusCode": 204}
    assert len(table.items()) == 1


def test_the_sample_request_is_accepted(
    table: Table, secrets: "SecretsManagerClient", secret_id: str
) -> None:
    request = sample("functions/callback_intake.json")
    secrets.put_secret_value(
        SecretId=secret_id, SecretString=json.dumps({"token": request["pathParameters"]["token"]})
    )
    assert response_to(request) == {"statusCode": 204}
    assert kept(table) == ["RECORDING"]


def test_a_repeated_callback_is_accepted_and_changes_nothing(table: Table, output: Output) -> None:
    app.handler(a_request(a_body("recording:uploaded")), AContext())
    before, _ = table.items(), output.text
    assert response_to(a_request(a_body("recording:uploaded"))) == {"statusCode": 204}
    assert table.items() == before
    assert output.lines[-1]["CallbackRepeated"] == [1.0]


def test_a_late_callback_is_accepted(table: Table) -> None:
    for event in ("recording:uploaded", "recording:started"):
        assert response_to(a_request(a_body(event))) == {"statusCode": 204}
    [item] = table.items()
    assert item["seen"]["SS"] == ["recording:started", "recording:uploaded"]


def test_a_callback_for_a_deleted_recording_is_accepted_and_changes_nothing(table: Table) -> None:
    table.put({"pk": {"S": f"RECORDING#{RECORDING_ID}"}, "deleted_at": {"S": "2021"}})
    before = table.items()
    assert response_to(a_request(a_body("recording:uploaded"))) == {"statusCode": 204}
    assert table.items() == before


@pytest.mark.parametrize(
    "body",
    [b'{"event":"archive:ready", "x": 1}', b'{"event":"recording:uploaded", "url":5}', b"{ }"],
)
def test_an_unrecognized_callback_is_accepted_stored_whole_and_counted(
    body: bytes, table: Table, output: Output
) -> None:
    assert response_to(a_request(body)) == {"statusCode": 204}
    [item] = table.items()
    assert item["body"]["S"] == body.decode()
    assert output.metrics == {"CallbackAccepted": 1, "event": "callback:unrecognized"}


@pytest.mark.parametrize("body", [a_body("recording:uploaded"), '{"e":"\N{SNOWMAN}"}'.encode()])
def test_a_body_may_come_in_base64(body: bytes, table: Table) -> None:
    assert response_to(a_request(body, as_base64=True)) == {"statusCode": 204}
    assert len(table.items()) == 1


@pytest.mark.parametrize("as_base64", [False, True])
@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_valid_signature_is_accepted(token: str | None, as_base64: bool, table: Table) -> None:
    body = a_body("session:started")
    request = a_request(body, token=token, authorization=a_signature(body), as_base64=as_base64)
    assert response_to(request) == {"statusCode": 204}
    assert kept(table) == ["SESSION"]


def test_an_accepted_callback_makes_exactly_one_call(calls: list[str]) -> None:
    response_to(a_request(a_body("recording:started")))
    first = len(calls)
    response_to(a_request(a_body("recording:ended")))
    assert calls[first:] == ["UpdateItem"]
    assert set(calls[:first]) == {"GetSecretValue", "ListSecretVersionIds", "UpdateItem"}


def test_the_way_from_the_handler_to_the_write_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader follows at most 30 calls in 10 files, in a container that has had a callback."""
    request = a_request(a_body("recording:uploaded"))
    response_to(request)
    called: list[CodeType] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        # Python 3.11 makes a frame for each comprehension, later versions do not.
        is_named = not code.co_name.startswith("<")
        if event == "call" and is_named and code.co_filename.startswith(LAYER):
            called.append(code)

    def post(connection: HttpClientConnection, *signed: Any) -> Any:
        sys.setprofile(None)
        return posted(connection, *signed)

    posted = HttpClientConnection.request
    monkeypatch.setattr(HttpClientConnection, "request", post)
    # DynamoDB keeps connections open. moto does not: the request is sent again on another one.
    monkeypatch.setattr(HttpClientConnection, "is_open", lambda _connection: True)
    sys.setprofile(note)
    try:
        response = response_to(request)
    finally:
        sys.setprofile(None)
    assert response == {"statusCode": 204}
    way = [f"{code.co_filename.removeprefix(LAYER)} {code.co_qualname}" for code in called]
    assert way[0] == "handlers/callback_intake.py handler"
    assert way[-1] == "aws/crt.py Client._exchange"
    assert len(way) <= 30, way
    assert len({code.co_filename for code in called}) <= 10, way


def test_the_tables_connection_opens_while_the_secret_is_read(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cold start needs two new connections, so they are opened at the same time."""

    def noting(policy: RetryPolicy) -> "DynamoDBClient":
        calls.append("connect to DynamoDB")
        return connect(policy)

    connect = crt.dynamodb
    monkeypatch.setattr(crt, "dynamodb", noting)
    response_to(a_request(a_body("recording:started")))
    assert calls[:2] == ["connect to DynamoDB", "GetSecretValue"]


# --- refused callbacks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (None, "invalid_request", "The body of 0 bytes is not JSON: Input data was truncated."),
        (b"", "invalid_request", "The body of 0 bytes is not JSON: Input data was truncated."),
        (b"event=x", "invalid_request", "The body of 7 bytes is not JSON: JSON is malformed"),
        (b"[1]", "invalid_request", "The body must be a JSON object: Expected `object`, got"),
        (b'{"a":"\xff"}', "invalid_request", "The body is not UTF-8: byte 6."),
        (b'"' + b"x" * 2**18, "body_too_large", "The body has 262145 bytes; at most 262144"),
    ],
)
def test_a_body_that_is_not_a_callback_is_refused_with_the_reason(
    body: bytes | None, code: str, message: str, table: Table, output: Output
) -> None:
    response = response_to(a_request(body, as_base64=body is not None))
    assert response["statusCode"] == {"invalid_request": 400, "body_too_large": 413}[code]
    assert error_of(response)["code"] == code
    assert error_of(response)["message"].startswith(message)
    assert table.items() == []
    assert output.logged("callback refused")["reason"] == code


def test_a_body_that_is_too_large_is_refused_before_the_secret_is_read(calls: list[str]) -> None:
    response = response_to(a_request(b"x" * (2**18 + 1), token="wrong"))
    assert (response["statusCode"], error_of(response)["code"]) == (413, "body_too_large")
    assert calls == []


def test_refusals_are_logged_as_a_sample(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    within_one_minute = LogSample(app.REFUSALS_LOGGED_PER_MINUTE, clock=lambda: 0.0)
    monkeypatch.setattr(app, "_refusals_logged", lambda: within_one_minute)
    for _ in range(app.REFUSALS_LOGGED_PER_MINUTE + 5):
        assert response_to(a_request(b"{}", token="wrong"))["statusCode"] == 401
    lines = [line for line in output.lines if line.get("message") == "callback refused"]
    assert len(lines) == app.REFUSALS_LOGGED_PER_MINUTE


def test_a_refusal_writes_one_line_and_no_metric(output: Output) -> None:
    response_to(a_request(b"{}", token="wrong"))
    assert [line["message"] for line in output.lines] == ["callback refused"]


@pytest.mark.parametrize(
    "request_",
    [
        a_request(a_body("recording:uploaded"), token=None),
        a_request(a_body("recording:uploaded"), token="wrong"),
        a_request(a_body("recording:uploaded"), token=""),
        a_request(a_body("recording:uploaded"), token=None, authorization=f"Bearer {TOKEN}"),
        a_request(a_body("recording:uploaded"), token=None, authorization=a_signature(b"other")),
        a_request(
            a_body("recording:uploaded"),
            token=None,
            authorization=a_signature(a_body("recording:uploaded"), secret=OTHER),
        ),
        a_request(b"not JSON", token="wrong"),
    ],
)
def test_an_unauthenticated_sender_is_refused_and_nothing_is_stored(
    request_: dict[str, Any], table: Table, output: Output
) -> None:
    response = response_to(request_)
    assert (response["statusCode"], error_of(response)["code"]) == (401, "unauthorized")
    signed = "authorization" in request_["headers"]
    assert ("make callback-url" in error_of(response)["message"]) is not signed
    assert table.items() == []
    assert output.logged("callback refused")["reason"] == "unauthorized"


@pytest.mark.parametrize(
    ("accepted", "with_token", "with_signature"),
    [("token", 204, 401), ("signature", 401, 204), ("token-or-signature", 204, 204)],
)
def test_only_the_configured_kinds_of_credentials_are_accepted(
    accepted: str, with_token: int, with_signature: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCEPTED_CREDENTIALS", accepted)
    body = a_body("recording:started")
    signed = a_request(body, token=None, authorization=a_signature(body))
    assert response_to(a_request(body))["statusCode"] == with_token
    assert response_to(signed)["statusCode"] == with_signature


def test_a_signature_is_accepted_up_to_the_configured_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNATURE_MAX_AGE_HOURS", "30")
    body, now = a_body("recording:started"), datetime.now(UTC)
    for hours, status in ((29.9, 204), (30.1, 401)):
        header = a_signature(body, at=now - timedelta(hours=hours))
        response = response_to(a_request(body, token=None, authorization=header))
        assert response["statusCode"] == status


@pytest.mark.parametrize(
    ("variable", "value", "status"),
    [
        ("REQUIRE_PAYLOAD_HASH", "true", 401),
        ("REQUIRE_PAYLOAD_HASH", "false", 204),
        ("EXPECTED_API_KEY", "another", 401),
        ("EXPECTED_APPLICATION_ID", "another", 401),
    ],
)
def test_a_signature_must_meet_the_configured_rules(
    variable: str, value: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    body = a_body("recording:started")
    changes = {"payload_hash": ABSENT} if variable == "REQUIRE_PAYLOAD_HASH" else {}
    request = a_request(body, token=None, authorization=a_signature(body, **changes))
    assert response_to(request)["statusCode"] == status


def test_with_an_invalid_token_signatures_are_still_accepted(
    secrets: "SecretsManagerClient",
    secret_id: str,
    monkeypatch: pytest.MonkeyPatch,
    output: Output,
) -> None:
    monkeypatch.setenv("PREVIOUS_SECRET_GRACE_HOURS", "0")
    content = json.dumps({"token": "a/b" * 20, "signature_secret": "x"})
    secrets.put_secret_value(SecretId=secret_id, SecretString=content)
    body = a_body("recording:started")
    signature = signed_with_a_short_secret(body)
    assert response_to(a_request(body, token="a/b" * 20))["statusCode"] == 401
    assert response_to(a_request(body, token=None, authorization=signature))["statusCode"] == 204
    counted = [line for line in output.lines if "CallbackTokenUnusable" in line]
    assert [line["service"] for line in counted] == ["callback_intake"]


def signed_with_a_short_secret(body: bytes) -> str:
    with pytest.warns(InsecureKeyLengthWarning):
        return a_signature(body, secret="x")


@pytest.mark.parametrize("content", ['{"token": ""}', "{}", '{"signature_secret": ""}'])
def test_without_stored_credentials_the_response_is_503(
    content: str, secrets: "SecretsManagerClient", secret_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREVIOUS_SECRET_GRACE_HOURS", "0")
    secrets.put_secret_value(SecretId=secret_id, SecretString=content)
    body = a_body("recording:started")
    for token in (None, "", TOKEN):
        request = a_request(body, token=token, authorization=a_signature(body))
        assert response_to(request)["statusCode"] == 503


def test_after_a_rotation_the_previous_token_is_still_accepted(
    secrets: "SecretsManagerClient", secret_id: str
) -> None:
    secrets.put_secret_value(SecretId=secret_id, SecretString=json.dumps({"token": TOKEN[::-1]}))
    for token, status in ((TOKEN, 204), (TOKEN[::-1], 204), ("wrong", 401)):
        response = response_to(a_request(a_body("recording:started"), token=token))
        assert response["statusCode"] == status


# --- callbacks to be sent again -------------------------------------------------------------------


class UnreachableDynamoDB:
    """A DynamoDB client that cannot reach DynamoDB."""

    def update_item(self, **_arguments: Any) -> None:
        raise CUT_OFF


def no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = UnreachableDynamoDB()
    monkeypatch.setattr(app, "_store", lambda: Store(client, "rooms"))


def no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBACK_SECRET_ARN", "missing")


@pytest.mark.parametrize(
    ("fail", "reason"), [(no_table, "StoreUnavailable"), (no_secret, "SecretUnavailable")]
)
def test_a_callback_that_cannot_be_stored_gets_503_with_retry_after(
    fail: Callable[[pytest.MonkeyPatch], None],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    output: Output,
) -> None:
    fail(monkeypatch)
    response = response_to(a_request(a_body("recording:started")))
    assert response["statusCode"] == 503
    assert int(response["headers"]["Retry-After"]) > 0
    assert error_of(response) == {
        "code": "unavailable",
        "message": "The callback could not be stored; send it again.",
    }
    assert output.metrics == {"CallbackUnavailable": 1, "reason": reason}
    assert output.logged("callback not stored")["level"] == "ERROR"


# --- logs and metrics -----------------------------------------------------------------------------


def test_an_accepted_callback_is_logged_by_its_ids_and_counted(output: Output) -> None:
    response_to(a_request(a_body("recording:uploaded")))
    line = output.logged("callback accepted")
    assert line["event"] == "recording:uploaded"
    assert (line["recording_id"], line["session_id"]) == (RECORDING_ID, SESSION_ID)
    assert (line["level"], line["is_new"]) == ("INFO", True)
    assert line["function_request_id"] == AContext().aws_request_id
    assert output.metrics == {"CallbackAccepted": 1, "event": "recording:uploaded"}


def test_each_invocation_emits_its_own_metric(output: Output) -> None:
    for event in ("recording:started", "session:started"):
        response_to(a_request(a_body(event)))
    counted = [line for line in output.lines if "_aws" in line]
    assert [line["event"] for line in counted] == ["recording:started", "session:started"]
    assert [line["CallbackAccepted"] for line in counted] == [[1.0], [1.0]]


SECRETS = {
    "the token": TOKEN,
    "a wrong token": "wrong-token",
    "the signature secret": SIGNATURE_SECRET,
    "the URL's query": "X-Signature-Of-Url",
    "the participant's name": "Lovelace",
    "the header": "Bearer",
    "the signature": "eyJ",
}


@pytest.mark.parametrize(
    "body",
    [
        a_body("recording:uploaded", url="https://a/b.mp4?Signature=X-Signature-Of-Url"),
        a_body("recording:uploaded", url="ftp://a/b.mp4?Signature=X-Signature-Of-Url"),
        a_body("recording:ready", url=["https://a/b.mp4?Signature=X-Signature-Of-Url"]),
        a_body("session:participant:joined", name="Lovelace"),
        a_body("session:participant:joined", name="Lovelace", room_id=None),
        a_body("participant:left", type={"name": "Lovelace"}),
        b'{"name": "Lovelace", "url": "https://a/b.mp4?Signature=X-Signature-Of-Url"',
        b'["Lovelace", "https://a/b.mp4?Signature=X-Signature-Of-Url"]',
        b'{"name": "Lovelace\xff"}',
    ],
)
@pytest.mark.parametrize("fail", [None, no_table, no_secret])
def test_no_log_line_has_a_secret_or_a_name(
    fail: Callable[[pytest.MonkeyPatch], None] | None,
    body: bytes,
    monkeypatch: pytest.MonkeyPatch,
    output: Output,
) -> None:
    if fail:
        fail(monkeypatch)
    headers = (None, "Basic Lovelace", a_signature(body), a_signature(body, secret=OTHER))
    for token, header in product((TOKEN, "wrong-token", None), headers):
        response_to(a_request(body, token=token, authorization=header, as_base64=True))
    written = output.text
    assert written.count('"level"') >= 12
    assert [name for name, secret in SECRETS.items() if secret in written] == []


def test_a_callback_and_its_repeats_are_logged_by_the_id_of_their_event(output: Output) -> None:
    callback = a_callback("recording:started")
    for _ in range(2):
        response_to(a_request(a_body("recording:started")))
    lines = [line for line in output.lines if line.get("message") == "callback accepted"]
    assert [line["is_new"] for line in lines] == [True, False]
    assert {line["correlation_id"] for line in lines} == {
        correlation.event_id_for_observation(callback)
    }


def test_a_callback_that_cannot_be_stored_is_logged_by_the_same_id(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TABLE_NAME", "missing")
    response_to(a_request(a_body("recording:started")))
    line = output.logged("callback not stored")
    assert line["correlation_id"] == correlation.event_id_for_observation(
        a_callback("recording:started")
    )
