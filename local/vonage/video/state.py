"""The state of the emulated Video API: archives, sessions, upload targets, and due callbacks."""

import base64
import heapq
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Condition
from typing import Any

from local.vonage.downloads import signed_url
from local.vonage.files import Files
from local.vonage.refusal import not_found
from local.vonage.switches import Switches
from local.vonage.video import archives, refusal
from local.vonage.video.archives import DELETABLE, STOPPABLE, Archive, Outcome, Status
from local.vonage.video.projects import PROJECT_IDS, Credentials, Environment
from local.vonage.video.sessions import VideoSession
from local.vonage.video.uploads import UploadTarget

Body = dict[str, Any]


class VideoState:
    """Archives, sessions and upload targets of both environments. Safe to use from many threads.

    Archives change by the clock `now`. These changes and those through the API add callbacks, which
    `take_callbacks` returns once. `changed` guards everything, and is notified of changes.
    """

    def __init__(
        self,
        base: str,
        changed: Condition,
        now: Callable[[], datetime],
        switches: Switches,
        files: Files,
    ) -> None:
        self._base = base
        self._changed = changed
        self._now = now
        self._switches = switches
        self._files = files
        self.credentials = Credentials()
        self.reset()

    def reset(self) -> None:
        """Remove everything except the credentials."""
        with self._changed:
            self._archives: dict[str, Archive] = {}
            self._due: list[tuple[datetime, str]] = []
            self._due_at: dict[str, datetime | None] = {}
            self._sessions: dict[str, VideoSession] = {}
            self._targets: dict[Environment, UploadTarget] = {}
            self._callbacks: deque[Body] = deque()

    # --- the clock --------------------------------------------------------------------------------

    def take_callbacks(self) -> list[Body]:
        """Return the callbacks that are due by now; each is returned only once."""
        with self._changed:
            self._settle()
            taken = list(self._callbacks)
            self._callbacks.clear()
            return taken

    def next_due(self) -> datetime | None:
        """Return when the next callback or change is due, if any."""
        with self._changed:
            if self._callbacks:
                return self._now()
            return self._due[0][0] if self._due else None

    def _settle(self) -> None:
        """Carry out the changes that are due by now."""
        now = self._now()
        while self._due and self._due[0][0] <= now:
            at, archive_id = heapq.heappop(self._due)
            if self._due_at[archive_id] == at:
                self._progress(self._archives[archive_id], at)

    def _progress(self, archive: Archive, at: datetime) -> None:
        was_recording = archive.status == "started"
        self._announce(archives.progressed(archive, at, self.outcome(archive.environment)))
        if was_recording and archive.automatic:
            self._announce(_continuation(archive, at))

    def _announce(self, archive: Archive) -> None:
        """Store a changed archive, and add its callback."""
        self.keep([archive])
        if not archive.silent:
            self._callbacks.append(self.shown(archive))
            self._changed.notify_all()

    # --- archives ---------------------------------------------------------------------------------

    def keep(self, changed: Iterable[Archive]) -> None:
        """Add or replace the archives without callbacks."""
        with self._changed:
            processing = timedelta(seconds=self._switches.settings.processing)
            for archive in changed:
                self._archives[archive.id] = archive
                at = self._due_at[archive.id] = archives.due(archive, processing)
                if at is not None:
                    heapq.heappush(self._due, (at, archive.id))
            self._changed.notify_all()

    def archives(self) -> list[Archive]:
        """Return all archives as of now, including deleted ones."""
        with self._changed:
            self._settle()
            return list(self._archives.values())

    def listed(self, environment: Environment, session_id: str | None) -> list[Archive]:
        """Return a project's archives that are not deleted, the newest start first."""
        found = [
            each
            for each in self.archives()
            if each.environment == environment
            and not each.deleted
            and session_id in {None, each.session_id}
        ]
        return sorted(found, key=lambda each: each.created_at, reverse=True)

    def archive(self, archive_id: str, environment: Environment | None = None) -> Archive:
        """Return the archive as of now, also a deleted one.

        Raises:
            Refusal: there is no such archive, or it belongs to the other environment.
        """
        with self._changed:
            self._settle()
            found = self._archives.get(archive_id)
            if found is None or environment not in {None, found.environment}:
                raise not_found(f"Failed to find archive with id: {archive_id}")
            return found

    def start(self, archive: Archive) -> Archive:
        """Start an archive in its session, as its client asked; return it.

        Raises:
            Refusal: nobody is connected, or an archive with the same tag is recording.
        """
        with self._changed:
            session = self._sessions.get(archive.session_id)
            known = session is not None and session.environment == archive.environment
            if session is None or not known or not session.is_live:
                raise refusal.nobody_connected()
            if archive.tag in {each.tag for each in self.recording(session.id)}:
                raise refusal.already_recording()
            self._announce(archive)
            return archive

    def stop(self, archive_id: str, environment: Environment) -> Archive:
        """Stop an archive, as its client asked; return it. An automatic one continues.

        Raises:
            Refusal: there is no such archive, or it is over.
        """
        with self._changed:
            archive = self.archive(archive_id, environment)
            if archive.status not in STOPPABLE or archive.deleted:
                raise refusal.not_stoppable()
            if archive.is_recording and not archive.automatic:
                self._announce(archives.changed(archive, "stopped", self._now(), "user initiated"))
            return self._archives[archive_id]

    def delete(self, archive_id: str, environment: Environment) -> None:
        """Delete an archive's record; its file too, unless it was uploaded.

        Raises:
            Refusal: there is no such archive, or its status forbids it.
        """
        with self._changed:
            archive = self.archive(archive_id, environment)
            if archive.status not in DELETABLE:
                raise refusal.not_deletable()
            self.keep([replace(archive, deleted=True, updated_at=self._now())])

    def change(
        self,
        archive_id: str,
        status: Status,
        reason: str | None = None,
        *,
        deserted: bool = False,
    ) -> Body:
        """Give an archive another status now; return its callback.

        Raises:
            Refusal: there is no such archive.
        """
        with self._changed:
            before = replace(self.archive(archive_id), deserted=deserted)
            after = archives.changed(before, status, self._now(), reason)
            self.keep([after])
            return self.shown(after)

    def recording(self, session_id: str) -> list[Archive]:
        """Return the session's archives that are started or paused."""
        return [
            each
            for each in self.archives()
            if each.session_id == session_id and each.is_recording and not each.deleted
        ]

    def shown(self, archive: Archive) -> Body:
        """Return the archive as responses and callbacks show it, with a fresh URL if available."""
        size = self._files.of(archive.id).size
        return archives.as_json(archive, size, self._sha256sum(archive), self._url(archive))

    def _sha256sum(self, archive: Archive) -> str:
        """Return the hash of the archive's file in base64; empty while it is not known."""
        if archive.status not in archives.WITH_FILE:
            return ""
        limit = self._switches.settings.sha256_limit
        return base64.b64encode(self._files.known_sha256(archive.id, limit) or b"").decode()

    def has_file(self, archive_id: str) -> bool:
        """Return whether Vonage's cloud has the archive's file."""
        with self._changed:
            self._settle()
            found = self._archives.get(archive_id)
            return found is not None and found.status == "available" and not found.deleted

    def _url(self, archive: Archive) -> str | None:
        if archive.status != "available":
            return None
        settings = self._switches.settings
        return signed_url(
            self._base,
            archive.id,
            self._now(),
            settings.archive_url_lifetime,
            settings.url_form,
            account=PROJECT_IDS[archive.environment],
            name=archive.file_name,
        )

    # --- sessions and upload targets --------------------------------------------------------------

    def keep_session(self, session: VideoSession) -> None:
        """Add or replace the session."""
        with self._changed:
            self._sessions[session.id] = session

    def add_session(self, session: VideoSession) -> None:
        """Add the session, unless it exists."""
        with self._changed:
            self._sessions.setdefault(session.id, session)

    def session(self, session_id: str) -> VideoSession:
        """Return the session.

        Raises:
            Refusal: there is no such session.
        """
        with self._changed:
            if session_id not in self._sessions:
                raise not_found(f"Failed to find session with id: {session_id}")
            return self._sessions[session_id]

    def set_target(self, environment: Environment, target: UploadTarget | None) -> None:
        """Set where a project's archives are uploaded to; None keeps them in Vonage's cloud."""
        with self._changed:
            if target is None:
                self._targets.pop(environment, None)
            else:
                self._targets[environment] = target

    def target(self, environment: Environment) -> UploadTarget | None:
        """Return where a project's archives are uploaded to."""
        with self._changed:
            return self._targets.get(environment)

    def outcome(self, environment: Environment) -> Outcome:
        """Return the status of a project's archives after their processing."""
        target = self.target(environment)
        return "available" if target is None else target.outcome()


def _continuation(archive: Archive, at: datetime) -> Archive:
    """Return the archive in which an automatic one continues, with an id of its own."""
    return archives.started(
        archive.session_id,
        at,
        environment=archive.environment,
        name=archive.name,
        automatic=True,
        silent=archive.silent,
    )
