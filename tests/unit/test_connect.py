"""The clients of the products, made from their settings and secrets."""

import json
import sys
import uuid
from collections.abc import Mapping, Sequence

import boto3
import pytest

from local.testing.template import environment
from roomkeeper.aws import sdk
from roomkeeper.aws.retries import SECRET_RETRY
from roomkeeper.aws.secrets import SecretUnavailable
from roomkeeper.jobs import runner
from roomkeeper.jobs.batch import Summary
from roomkeeper.jobs.report import Report
from roomkeeper.jobs.room_extension import RoomExtension
from roomkeeper.jobs.runner import with_unavailable
from roomkeeper.settings import ApiSettings, VonageSettings
from roomkeeper.vonage.connect import (
    Clients,
    NoRooms,
    NotConfigured,
    clients,
    count_unauthorized,
)

CLASSIC = {"api_key": "12345", "api_secret": "a-secret"}
EMPTY = dict.fromkeys(("application_id", "private_key", "api_key", "api_secret"), "")


def connected(
    secrets: Mapping[str, Mapping[str, str]],
    products: Sequence[str] = ("meetings", "video"),
    *,
    video_base_url: str = "",
) -> Clients:
    """Return the clients of a stack whose secrets, of their own in each test, have this content."""
    mark, client = uuid.uuid4().hex, boto3.client("secretsmanager")
    for name, content in secrets.items():
        client.create_secret(Name=f"{name}-{mark}", SecretString=json.dumps(content))
    urls = {"meetings": "https://meetings.example", "video": video_base_url}
    served = {
        product: ApiSettings(base_url=urls[product], secret_id=f"{product}-{mark}")
        for product in products
    }
    secrets_manager = sdk.secrets_manager(SECRET_RETRY)
    return clients(secrets_manager, VonageSettings(**served), total_timeout=1.0)


class Invocation:
    """The context object that Lambda passes."""

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def test_each_product_gets_a_client_with_its_own_credentials(moto: None) -> None:
    with connected({"meetings": CLASSIC, "video": CLASSIC}) as made:
        assert list(made.recordings) == ["meetings", "video"]
        assert repr(made.video) == "VideoClient('https://api.opentok.com')"
        assert not made.unavailable


def test_the_base_url_of_the_video_api_is_that_of_the_settings_if_there_is_one(moto: None) -> None:
    secrets = {"video": CLASSIC}
    with connected(secrets, ["video"], video_base_url="https://video.example") as made:
        assert repr(made.video) == "VideoClient('https://video.example')"


@pytest.mark.parametrize("lacking", ["meetings", "video"])
def test_a_product_without_credentials_does_not_affect_the_other(moto: None, lacking: str) -> None:
    secrets = {"meetings": CLASSIC, "video": CLASSIC, lacking: EMPTY}
    with connected(secrets) as made:
        assert list(made.recordings) == [each for each in ("meetings", "video") if each != lacking]
        assert list(made.not_configured) == [lacking]
        report = with_unavailable(Report(dry_run=False, counts={}, summary=Summary()), made)
    assert report.as_json()["not_configured"] == [lacking]
    assert report.as_json()["failed"] == 0


def test_invalid_credentials_of_a_product_are_a_failure_of_the_run(moto: None) -> None:
    with connected({"meetings": CLASSIC, "video": {"api_key": "12345"}}) as made:
        report = with_unavailable(Report(dry_run=False, counts={}, summary=Summary()), made)
    assert "not_configured" not in report.as_json()
    assert report.as_json()["failed"] == 1
    assert "The secret video-" in report.as_json()["sample_errors"][0]


def test_without_any_credentials_nothing_is_configured(moto: None) -> None:
    with pytest.raises(NotConfigured):
        connected({"meetings": EMPTY, "video": EMPTY})


def test_credentials_that_cannot_be_read_are_not_called_missing(moto: None) -> None:
    with pytest.raises(SecretUnavailable) as raised:
        connected({"meetings": EMPTY})  # the other secret does not exist
    assert not isinstance(raised.value, NotConfigured)


def test_rooms_are_those_of_the_meetings_api(moto: None) -> None:
    with connected({"meetings": CLASSIC, "video": CLASSIC}) as made:
        assert made.rooms is made.meetings
    with pytest.raises(NoRooms):
        _ = Clients(video=made.video).rooms


def test_the_room_extension_has_nothing_to_do_with_the_video_api_alone(
    moto: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in environment("RoomExpiryExtender").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SERVED_PRODUCTS", "video")
    monkeypatch.setenv("VIDEO_BASE_URL", "")
    monkeypatch.setenv("VIDEO_SECRET_ARN", "video")
    assert runner.handle({}, Invocation(), RoomExtension) == {"rooms_not_served": True}
    [line] = [each for each in caplog.records if each.message == "nothing to do"]
    assert "no rooms" in vars(line)["reason"]


class Writes:
    """A stream like Lambda's standard output, which passes on each write at once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def write(self, text: str) -> None:
        self.texts.append(text)


def test_a_metric_is_written_with_the_end_of_its_line_so_that_threads_do_not_mix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stdout = Writes()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Roomkeeper/test")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "recording_cleanup")
    count_unauthorized()
    [line] = stdout.texts
    assert line.endswith("}\n")
    assert json.loads(line)["service"] == "vonage"
