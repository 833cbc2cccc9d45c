"""The demonstration's output and report, without running it."""

import io
import re
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from local.demo import steps, timeline
from local.demo.report import Report
from local.testing.builders import NOON, RECORDING_ID, SESSION_ID, URL, a_body
from operations.template import ROOT
from roomkeeper.domain.recordings import Hold, Recording
from roomkeeper.jobs.cleanup import Cleanup
from roomkeeper.jobs.job import WorklistJob
from roomkeeper.jobs.reconciliation import Reconciliation

MINUTE = timedelta(minutes=1)


def shown(monkeypatch: pytest.MonkeyPatch, width: int) -> io.StringIO:
    """Print the demonstration into a terminal of this width; return the output."""
    output = io.StringIO()
    monkeypatch.setattr(timeline, "console", Console(file=output, width=width, highlight=False))
    return output


@pytest.mark.parametrize("job", [Cleanup, Reconciliation])
def test_every_count_of_a_job_has_words_and_is_described(job: type[WorklistJob[Any]]) -> None:
    page = (ROOT / "docs/operations.md").read_text()
    [reports] = [line for line in page.splitlines() if line.startswith("| report |")]
    assert {*job.outcomes} <= steps.COUNTS.keys()
    assert {*job.outcomes} <= {*re.findall(r"`(\w+)`", reports)}


def a_life() -> Recording:
    return Recording(
        recording_id=RECORDING_ID,
        session_id=SESSION_ID,
        seen=frozenset(),
        started_at=NOON,
        ended_at=NOON + MINUTE,
        uploaded_at=NOON + 2 * MINUTE,
        copied_at=NOON + 2.5 * MINUTE,
        hold=Hold(reason="a court order", requested_by="legal", since=NOON + 3 * MINUTE),
        deleted_at=NOON + 4 * MINUTE,
    )


def test_a_recordings_life_is_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    output, report = shown(monkeypatch, 140), Report()
    report.note_life(a_life())

    timeline.show_lives(report.lives)

    assert output.getvalue().splitlines()[-1].replace("\xa0", " ") == (
        f"  {RECORDING_ID[:8]}  started 16:00:00 -> ended 16:01:00 -> uploaded 16:02:00"
        " -> copied 16:02:30 -> held 16:03:00 -> deleted 16:04:00"
    )


@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_cut_at_any_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    output = shown(monkeypatch, width)
    attempt = {"at": "2021-11-02T16:00:00.000Z", "status": 204, "error": None}
    names = ["session:participant:joined", "session:participant:left", "recording:uploaded"]
    joined = {"participant_id": "ada", "session_id": SESSION_ID}

    timeline.show_meeting(
        [{"event": name, "body": joined, "attempts": [attempt]} for name in names],
        [
            {
                "detail-type": names[0],
                "detail": {"data": joined, "metadata": {"event_id": "0f1e2d3c"}},
            }
        ],
    )

    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert all(any(name in line for line in lines) for name in names)
    [row] = [line for line in lines if names[0] in line]
    assert "204" in row
    assert "0f1e2d3c" in row


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_video_session_is_readable_at_any_width(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = shown(monkeypatch, width)
    names = {
        "connectionDestroyed": "session:participant:joined",
        "streamDestroyed": "session:stream:destroyed",
    }
    callbacks = [{"body": {"event": name}, "status": 204} for name in names]
    events = [
        {"detail-type": event, "detail": {"metadata": {"event_id": name}}}
        for name, event in names.items()
    ]

    timeline.show_session([*callbacks, callbacks[0]], events, lambda body: str(body["event"]))

    lines = [line.rstrip() for line in output.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    assert [line.split() for line in lines[1:]] == [
        *([name, "204", event] for name, event in names.items()),
        ["connectionDestroyed", "204", "repeated"],
    ]


def test_an_event_says_that_a_url_lost_its_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    output = shown(monkeypatch, 120)
    for data in ({"url": URL}, {"expires_at": "2021-11-02T16:00:00Z"}):
        timeline.show_event({"detail-type": "an:event", "detail": {"data": data}})

    headings = [line for line in output.getvalue().splitlines() if "subscriber" in line]
    assert ["signature" in each for each in headings] == [True, False]
    assert URL.partition("?")[2] not in output.getvalue()


def test_the_report_contains_no_signatures_of_download_urls() -> None:
    report = Report(callbacks=[{"body": {"url": URL}}], events=[{"detail": [URL]}])
    written = report.shareable().decode()
    assert URL.partition("?")[0] in written
    assert URL.partition("?")[2] not in written
    assert a_body("recording:uploaded").decode().count("?")  # the reports did have signatures


def test_the_end_says_what_to_do_next(monkeypatch: pytest.MonkeyPatch) -> None:
    output = shown(monkeypatch, 60)
    timeline.show_next()
    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= 60
    for command in ("make up", "make deploy"):
        assert any(line.startswith(f"  {command} ") for line in lines)


def test_the_counts_of_a_report_are_in_words() -> None:
    report = {"deleted": 1, "on_hold": 2, "failed": 0, "dry_run": False}
    assert steps.in_words(report) == "1 deleted, 2 skipped because of a hold"
    assert steps.in_words({"deleted": 0}) == "nothing to do"
