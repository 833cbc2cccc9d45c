"""The client of the Video API against the emulator, over HTTP, in both environments."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import requests

from local.vonage import VonageControl
from local.vonage.video.projects import API_KEY, APPLICATION_ID
from roomkeeper.vonage import Unauthorized
from roomkeeper.vonage.video import ClassicKey, VideoClient, video_credentials_from
from tests.integration.vonage_support import SHORT_DELAYS

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["unified", "classic"])
def environment(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def video(emulator: VonageControl, environment: str) -> Iterator[VideoClient]:
    known = emulator.video.credentials()
    credentials = (
        video_credentials_from(application_id=APPLICATION_ID, private_key=known["private_key"])
        if environment == "unified"
        else video_credentials_from(api_key=API_KEY, api_secret=known["api_secret"])
    )
    with VideoClient(emulator.base, credentials, timeout=30, retry=SHORT_DELAYS) as client:
        yield client


def add_archive(emulator: VonageControl, environment: str, **fields: Any) -> str:
    archive_id: str = emulator.video.add_archives(environment=environment, **fields)["archive_ids"][
        0
    ]
    return archive_id


@pytest.mark.parametrize("count_means", ["total", "returned"])
def test_every_archive_of_a_project_is_listed(
    emulator: VonageControl, video: VideoClient, environment: str, count_means: str
) -> None:
    emulator.settings(archive_count=count_means)
    ids = emulator.video.add_archives(2100, environment=environment)["archive_ids"]
    pages = list(video.all_since(LONG_AGO))
    found = [each.recording_id for page in pages for each in page.found]
    assert len(found) == 2100
    assert set(found) == set(ids)
    assert not any(page.invalid for page in pages)


def test_the_list_ends_at_the_horizon(
    emulator: VonageControl, video: VideoClient, environment: str
) -> None:
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    ids = [
        add_archive(emulator, environment, started_at=day.isoformat(), frozen=True) for day in days
    ]
    found = [each.recording_id for page in video.all_since(days[1]) for each in page.found]
    assert found == [ids[2], ids[1]]


def test_a_session_has_its_archives(
    emulator: VonageControl, video: VideoClient, environment: str
) -> None:
    emulator.video.add_archives(3, environment=environment, session_id="one")
    emulator.video.add_archives(2, environment=environment, session_id="two")
    found = video.in_session("two")
    assert found is not None
    assert [each.session_id for each in found.found] == ["two", "two"]


@pytest.mark.parametrize("deleted", ["unknown", "shown"])
@pytest.mark.parametrize("unknown", [404, 400])
@pytest.mark.parametrize("unknown_on_delete", [404, 400, 403])
def test_an_archive_is_deleted_in_every_form_of_absence(
    emulator: VonageControl,
    video: VideoClient,
    environment: str,
    deleted: str,
    unknown: int,
    unknown_on_delete: int,
) -> None:
    emulator.settings(
        deleted_archive=deleted, unknown_archive=unknown, unknown_on_delete=unknown_on_delete
    )
    archive_id = add_archive(emulator, environment)
    assert video.delete(archive_id) == "deleted"
    assert video.delete(archive_id) in {"deleted", "already_deleted"}
    assert video.get(archive_id) is None
    assert video.delete("unknown") == "already_deleted"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("started", "not_yet"),
        ("paused", "not_yet"),
        ("stopped", "not_yet"),
        ("available", "deleted"),
        ("uploaded", "deleted"),
        ("expired", "already_deleted"),
        ("failed", "already_deleted"),
    ],
)
def test_each_status_has_its_outcome_of_a_deletion(
    emulator: VonageControl, video: VideoClient, environment: str, status: str, outcome: str
) -> None:
    archive_id = add_archive(emulator, environment, status=status, frozen=True)
    assert video.delete(archive_id) == outcome


def test_a_running_archive_is_stopped(
    emulator: VonageControl, video: VideoClient, environment: str
) -> None:
    archive_id = add_archive(emulator, environment, status="started", frozen=True)
    found = video.stop(archive_id)
    assert found is not None
    assert found.event == "recording:ended"


def test_a_download_has_the_size_and_the_checksum_of_the_file(
    emulator: VonageControl, video: VideoClient, environment: str
) -> None:
    archive_id = add_archive(emulator, environment, size=300_000)
    download = video.download(archive_id)
    assert download is not None
    content = requests.get(download.url, timeout=30).content
    assert len(content) == download.size == 300_000
    checksum = hashlib.sha256(content).digest()
    assert download.sha256 is not None
    assert msgspec.json.decode(f'"{download.sha256}"', type=bytes) == checksum


def test_an_archive_in_the_owners_storage_cannot_be_downloaded(
    emulator: VonageControl, video: VideoClient, environment: str
) -> None:
    assert video.download(add_archive(emulator, environment, status="uploaded")) is None


def test_wrong_credentials_are_distinguished_from_an_unknown_archive(
    emulator: VonageControl,
) -> None:
    stranger = ClassicKey(API_KEY, "0" * 40)
    emulator.settings(unknown_on_delete=403)
    archive_id = add_archive(emulator, "classic")
    with VideoClient(emulator.base, stranger, retry=SHORT_DELAYS) as video:
        for ask in (video.get, video.delete, video.stop, video.download, video.in_session):
            with pytest.raises(Unauthorized):
                ask(archive_id)
        with pytest.raises(Unauthorized):
            list(video.all_since(LONG_AGO + timedelta(days=1)))
