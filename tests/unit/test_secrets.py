"""Secrets: the accepted content and versions, and unreadable secrets."""

import json
import logging
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.testing.builders import NOON
from local.testing.sdk import OUTAGES
from roomkeeper.aws import AwsError
from roomkeeper.aws.secrets import (
    MAX_EARLIER_VERSIONS,
    READ_TIMEOUT,
    SECRET_MAX_AGE,
    CallbackCredentials,
    CallbackSecret,
    SecretUnavailable,
)

GRACE = timedelta(hours=12)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
LATER = NOON + SECRET_MAX_AGE + SECOND
LONG_AGO = NOON - timedelta(days=30)


def a_token(name: str) -> str:
    return f"{name}-token-that-is-in-the-callback-url"


def content(name: str) -> dict[str, str]:
    return {"token": a_token(name), "signature_secret": f"the {name} signature secret"}


def accepted(*names: str) -> CallbackCredentials:
    """Return the credentials of these contents."""
    contents = [content(name) for name in names]
    return CallbackCredentials(
        tuple(each["token"] for each in contents),
        tuple(each["signature_secret"] for each in contents),
    )


class FakeSecrets:
    """A Secrets Manager with one secret. As in AWS, no version is lost when it loses its labels."""

    PAGE = 2

    def __init__(self, current: object, *, since: datetime = LONG_AGO) -> None:
        self.calls: list[str] = []
        self.outages: dict[str, Exception] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.set(current, since)

    def set(self, current: object, since: datetime) -> str:
        """Put a new version in force; return its id."""
        for version in self.versions.values():
            moved = "AWSCURRENT" in version["VersionStages"]
            version["VersionStages"] = ["AWSPREVIOUS"] if moved else []
        return self.add(current, since, "AWSCURRENT")

    def add(self, value: object, since: datetime, *labels: str) -> str:
        version_id = f"version-{len(self.versions)}"
        self.versions[version_id] = {
            "VersionId": version_id,
            "SecretString": value if isinstance(value, str) else json.dumps(value),
            "CreatedDate": since,
            "VersionStages": list(labels),
        }
        return version_id

    def get_secret_value(
        self,
        SecretId: str,  # noqa: N803
        VersionStage: str = "",  # noqa: N803
        VersionId: str = "",  # noqa: N803
    ) -> dict[str, Any]:
        assert SecretId == "arn:secret"
        self._note(VersionId or VersionStage)
        for version in self.versions.values():
            if version["VersionId"] == VersionId or VersionStage in version["VersionStages"]:
                return version
        raise AwsError("ResourceNotFoundException", "no such version")

    def list_secret_version_ids(
        self,
        SecretId: str,  # noqa: N803
        IncludeDeprecated: bool,  # noqa: N803
        NextToken: str = "0",  # noqa: N803
    ) -> dict[str, Any]:
        assert SecretId == "arn:secret"
        self._note("list")
        start = int(NextToken)
        found = [v for v in self.versions.values() if IncludeDeprecated or v["VersionStages"]]
        page = [
            {name: value for name, value in version.items() if name != "SecretString"}
            for version in found[start : start + self.PAGE]
        ]
        more = {"NextToken": str(start + self.PAGE)} if start + self.PAGE < len(found) else {}
        return {"Versions": page, **more}

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call in self.outages:
            raise self.outages[call]


def a_secret(client: Any, grace: timedelta = GRACE, **options: Any) -> CallbackSecret:
    return CallbackSecret(client, "arn:secret", grace, **options)


def rotated(*at: datetime) -> FakeSecrets:
    """Return a secret with the content `0`, and `1`, `2` ... from these times on."""
    client = FakeSecrets(content("0"))
    for number, moment in enumerate(at, 1):
        client.set(content(str(number)), moment)
    return client


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (content("a"), accepted("a")),
        (content("a") | {"signature_secret": ""}, CallbackCredentials((a_token("a"),), ())),
        ({"token": a_token("a")}, CallbackCredentials((a_token("a"),), ())),
        ({"signature_secret": "x", "note": 1}, CallbackCredentials((), ("x",))),
        ({}, CallbackCredentials((), ())),
    ],
)
def test_credentials_are_accepted_unless_they_are_empty(
    secret: object, expected: CallbackCredentials
) -> None:
    assert a_secret(FakeSecrets(secret)).credentials(NOON) == expected


@pytest.mark.parametrize(
    "token", ["s3cret", "s3cret" * 5, "a/" * 20, "a%2F" * 20, "a b" * 20, "é" * 40]
)
def test_a_token_that_a_url_would_change_is_ignored_and_reported(
    token: str, caplog: pytest.LogCaptureFixture
) -> None:
    reports: list[str] = []
    client = FakeSecrets({"token": token, "signature_secret": "s"})
    secret = a_secret(client, on_unusable_token=lambda: reports.append("unusable"))

    assert secret.credentials(NOON) == CallbackCredentials((), ("s",))

    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "The token of the secret arn:secret is not used" in record.getMessage()
    assert "32 characters or more" in record.getMessage()
    assert token not in record.getMessage()
    assert reports == ["unusable"]


def test_a_secret_without_a_token_is_valid(caplog: pytest.LogCaptureFixture) -> None:
    a_secret(FakeSecrets({"token": "", "signature_secret": "s"})).credentials(NOON)
    assert caplog.records == []


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {}\t", "\n{}"])
def test_white_space_around_a_stored_credential_has_no_effect(around: str) -> None:
    """As `aws secretsmanager put-secret-value` stores the output of `echo`."""
    stored = {name: around.format(value) for name, value in content("new").items()}
    assert a_secret(FakeSecrets(stored)).credentials(NOON) == accepted("new")


def test_the_previous_secret_is_accepted_within_its_grace_time() -> None:
    just_within = rotated(NOON - GRACE + SECOND)
    assert a_secret(just_within).credentials(NOON) == accepted("1", "0")


def test_no_earlier_version_is_read_after_the_grace_time() -> None:
    client = rotated(NOON - GRACE)
    assert a_secret(client).credentials(NOON) == accepted("1")
    assert client.calls == ["AWSCURRENT"]


def test_without_a_grace_time_a_rotation_takes_effect_immediately() -> None:
    assert a_secret(rotated(NOON), timedelta(0)).credentials(NOON) == accepted("1")


def test_a_secret_that_was_never_rotated_has_no_previous_one() -> None:
    client = FakeSecrets(content("0"), since=NOON)
    assert a_secret(client).credentials(NOON) == accepted("0")


def test_a_second_change_does_not_shorten_the_grace_time_of_the_first() -> None:
    first, second = NOON, NOON + 8 * HOUR
    client = rotated(first, second)
    for now, names in (
        (second, ("2", "1", "0")),
        (first + GRACE - SECOND, ("2", "1", "0")),
        (first + GRACE, ("2", "1")),
        (second + GRACE - SECOND, ("2", "1")),
        (second + GRACE, ("2",)),
    ):
        assert a_secret(client).credentials(now) == accepted(*names)


@given(st.lists(st.integers(1, 3600), max_size=8), st.integers(0, 90_000))
def test_each_version_is_accepted_until_its_own_grace_time_ends(
    pauses: list[int], after: int
) -> None:
    """No two versions are of the same moment: nothing would say which of them was first."""
    moments = [NOON + timedelta(seconds=sum(pauses[: i + 1])) for i in range(len(pauses))]
    now = (moments or [NOON])[-1] + timedelta(seconds=after)
    ended = [str(number) for number, end in enumerate(moments) if now < end + GRACE]

    found = a_secret(rotated(*moments)).credentials(now)

    assert {*found.tokens} == {*map(a_token, ended), a_token(str(len(moments)))}


def test_a_pending_version_is_not_accepted_and_replaces_no_other() -> None:
    client = rotated(NOON - HOUR)
    client.add(content("pending"), NOON - HOUR / 2, "AWSPENDING")
    assert a_secret(client).credentials(NOON) == accepted("1", "0")


def test_a_version_that_was_rolled_back_is_accepted_for_the_grace_time() -> None:
    client = rotated(NOON - 2 * HOUR, NOON - HOUR)
    labels = [version["VersionStages"] for version in client.versions.values()]
    labels[1][:], labels[2][:] = ["AWSCURRENT"], ["AWSPREVIOUS"]
    assert a_secret(client).credentials(NOON) == accepted("1", "2", "0")
    assert a_secret(client).credentials(NOON + GRACE - HOUR) == accepted("1")


def test_after_a_rollback_to_a_version_older_than_the_grace_time_only_that_one_is_accepted() -> (
    None
):
    """So docs/operations.md advises to store an earlier token again, which is a rotation."""
    client = rotated(NOON - HOUR)
    labels = [version["VersionStages"] for version in client.versions.values()]
    labels[0][:], labels[1][:] = ["AWSCURRENT"], ["AWSPREVIOUS"]
    assert a_secret(client).credentials(NOON) == accepted("0")
    client.set(content("0"), NOON)
    assert a_secret(client).credentials(NOON) == accepted("0", "1", "0")


def test_at_most_max_earlier_versions_are_accepted_newest_first() -> None:
    client = rotated(*(NOON + timedelta(minutes=number) for number in range(50)))
    found = a_secret(client).credentials(NOON + HOUR)
    assert found == accepted(*map(str, range(50, 50 - MAX_EARLIER_VERSIONS - 1, -1)))


def test_versions_are_read_until_the_read_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = iter([0.0, 1.0, READ_TIMEOUT + 1])
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    client = rotated(*(NOON + timedelta(minutes=number) for number in range(5)))
    with pytest.raises(SecretUnavailable, match="takes too long"):
        a_secret(client).credentials(NOON + HOUR)


def test_a_malformed_earlier_version_is_ignored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = FakeSecrets(content("0"))
    client.set("s3cret, not JSON", NOON - HOUR)
    client.set(content("2"), NOON)
    assert a_secret(client).credentials(NOON) == accepted("2", "0")
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    "code", ["ResourceNotFoundException", "DecryptionFailure", "AccessDeniedException"]
)
def test_an_earlier_version_that_is_deleted_or_cannot_be_decrypted_is_ignored(
    code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A change of the secret's key encrypts only versions with a label anew."""
    client = rotated(NOON - HOUR, NOON)
    client.outages["version-0"] = AwsError(code, "gone")
    assert a_secret(client).credentials(NOON) == accepted("2", "1")
    assert "version-0" in caplog.text


@pytest.mark.parametrize("outage", OUTAGES, ids=repr)
@pytest.mark.parametrize("call", ["list", "version-0"])
def test_an_earlier_version_that_is_unavailable_raises(call: str, outage: Exception) -> None:
    client = rotated(NOON)
    client.outages[call] = outage
    with pytest.raises(SecretUnavailable, match="arn:secret"):
        a_secret(client).credentials(NOON)


def test_a_secret_is_read_once_while_it_is_fresh() -> None:
    client = FakeSecrets(content("0"))
    secret = a_secret(client)
    for now in (NOON, NOON + SECOND, NOON + SECRET_MAX_AGE):
        secret.credentials(now)
    assert client.calls == ["AWSCURRENT"]


def test_a_rotated_secret_is_used_once_the_cache_is_stale() -> None:
    client = FakeSecrets(content("0"))
    secret = a_secret(client)
    before = secret.credentials(NOON)
    client.set(content("1"), NOON)
    assert secret.credentials(NOON + SECRET_MAX_AGE) == before
    assert secret.credentials(LATER) == accepted("1", "0")
    assert secret.credentials(NOON + GRACE + SECRET_MAX_AGE) == accepted("1")


@pytest.mark.parametrize("outage", OUTAGES, ids=repr)
def test_a_stale_secret_is_used_with_a_warning_while_it_is_unavailable(
    outage: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    client = FakeSecrets(content("t0ken"))
    secret = a_secret(client)
    secret.credentials(NOON)
    client.outages["AWSCURRENT"] = outage
    assert secret.credentials(LATER) == accepted("t0ken")
    [warning] = caplog.records
    assert warning.levelno == logging.WARNING
    assert "arn:secret (AWSCURRENT)" in warning.getMessage()
    assert "t0ken" not in caplog.text


def test_after_a_failed_refresh_the_secret_is_read_again_after_its_max_age() -> None:
    client = FakeSecrets(content("0"))
    secret = a_secret(client)
    secret.credentials(NOON)
    client.outages["AWSCURRENT"] = OUTAGES[0]
    secret.credentials(LATER)
    client.outages.clear()
    client.set(content("1"), LONG_AGO)
    assert secret.credentials(LATER + SECRET_MAX_AGE) == accepted("0")
    assert secret.credentials(LATER + SECRET_MAX_AGE + SECOND) == accepted("1")


def test_a_secret_that_was_never_read_raises_and_is_read_again() -> None:
    client = FakeSecrets(content("0"))
    secret = a_secret(client)
    client.outages["AWSCURRENT"] = OUTAGES[0]
    with pytest.raises(SecretUnavailable, match="ThrottlingException"):
        secret.credentials(NOON)
    client.outages.clear()
    assert secret.credentials(NOON) == accepted("0")


@pytest.mark.parametrize(
    "text",
    [
        "s3cret",
        '"s3cret"',
        '["s3cret"]',
        '{"token": 53, "note": "s3cret"}',
        '{"token": ["s3cret"]}',
        '{"token": "s3cret"',
        '{"token": null, "signature_secret": "s3cret"}',
        "",
    ],
)
def test_a_malformed_secret_is_named_and_not_quoted(text: str) -> None:
    with pytest.raises(SecretUnavailable) as unavailable:
        a_secret(FakeSecrets(text)).credentials(NOON)
    message = str(unavailable.value)
    assert message.startswith("The secret arn:secret (AWSCURRENT) cannot be used: ")
    assert message.endswith("It must be a JSON object with the fields token, signature_secret.")
    assert "s3cret" not in message


def test_a_binary_secret_is_named() -> None:
    client = FakeSecrets({})
    version = client.versions["version-0"]
    del version["SecretString"]
    version["SecretBinary"] = b"x"
    with pytest.raises(SecretUnavailable, match=r"arn:secret \(AWSCURRENT\) .*KeyError"):
        a_secret(client).credentials(NOON)
