"""Adds archives in any status, without callbacks."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from local.vonage.clock import moment
from local.vonage.recordings import new_session_id
from local.vonage.state import State
from local.vonage.video import archives
from local.vonage.video.archives import Archive, Status
from local.vonage.video.projects import Environment
from local.vonage.video.scenarios import Duration, Size
from local.vonage.video.sessions import VideoSession


class Archives(Struct, kw_only=True, forbid_unknown_fields=True):
    """Archives in any status that exist without any callback."""

    count: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    per_session: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    """The number of archives per session."""
    status: Status | Literal["deleted"] = "available"
    session_id: str | None = None
    """The session of all archives; new sessions when None."""
    ids: tuple[str, ...] = ()
    """Ids for the first archives; more than `count` ids add more archives."""
    environment: Environment = "unified"
    started_at: str | None = None
    """ISO 8601; when None, the archives end now."""
    duration: Duration = 38
    size: Size | None = None
    name: str = ""
    output_mode: Literal["composed", "individual"] = "composed"
    encrypted: bool = False
    has_transcription: bool = False
    automatic: bool = False
    frozen: bool = False
    """Whether the clock never changes them."""
    callbacks: bool = False
    """Whether later changes, by the clock or through the API, send callbacks."""


def add(state: State, wanted: Archives) -> dict[str, Any]:
    """Add the archives; return their ids and those of their sessions.

    Raises:
        Refusal: `started_at` is not a date.
    """
    length = timedelta(seconds=wanted.duration)
    start = state.clock.now() - length
    if wanted.started_at is not None:
        start = moment(wanted.started_at, "started_at")
    missing = max(0, wanted.count - len(wanted.ids))
    added = [_archive(wanted, start, length, id=id_) for id_ in wanted.ids]
    added += [_archive(wanted, start, length) for _ in range(missing)]
    added = _in_sessions([replace(each, frozen=wanted.frozen) for each in added], wanted, start)
    _keep(state, wanted, added)
    session_ids = list(dict.fromkeys(each.session_id for each in added))
    return {"archive_ids": [each.id for each in added], "session_ids": session_ids}


def _keep(state: State, wanted: Archives, added: list[Archive]) -> None:
    if wanted.size is not None:
        for archive in added:
            state.files.set_size(archive.id, wanted.size)
    state.video.keep(added)
    for session_id in {each.session_id for each in added}:
        state.video.add_session(VideoSession(session_id, wanted.environment))


def _archive(wanted: Archives, start: datetime, length: timedelta, **identity: str) -> Archive:
    archive = archives.started(
        "",
        start,
        environment=wanted.environment,
        name=wanted.name,
        output_mode=wanted.output_mode,
        encrypted=wanted.encrypted,
        has_transcription=wanted.has_transcription,
        automatic=wanted.automatic,
        silent=not wanted.callbacks,
        **identity,
    )
    if wanted.status == "deleted":
        return replace(archives.changed(archive, "available", start + length), deleted=True)
    if wanted.status == "started":
        return archive
    reason = {"failed": "failure", "paused": ""}.get(wanted.status, "user initiated")
    return archives.changed(archive, wanted.status, start + length, reason)


def _in_sessions(added: list[Archive], wanted: Archives, start: datetime) -> list[Archive]:
    """Return the archives with a session for every `per_session` of them."""
    found = []
    for first in range(0, len(added), wanted.per_session):
        session_id = wanted.session_id or new_session_id(start)
        group = added[first : first + wanted.per_session]
        found += [replace(each, session_id=session_id) for each in group]
    return found
