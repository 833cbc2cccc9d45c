"""The Video API's operations on archives.

Source: Vonage's Video API reference, "Archive". Where it and OpenTok's differ, both are accepted.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import ClassVar

from msgspec import Raw

from roomkeeper.callbacks.video_archives import Archive, UnknownStatus, observation
from roomkeeper.domain.observations import Listed, Product, RecordingObservation
from roomkeeper.vonage.api_client import ApiClient
from roomkeeper.vonage.calls import Call, path
from roomkeeper.vonage.errors import (
    Forbidden,
    InvalidId,
    InvalidRecording,
    InvalidResponse,
    NotDeletable,
    NotFound,
    NotStoppable,
    RequestContext,
    Unauthorized,
    UnrecognizedStatus,
    VonageError,
)
from roomkeeper.vonage.recordings_api import DeletionOutcome, Download
from roomkeeper.vonage.responses import video_error
from roomkeeper.vonage.retry import RetryPolicy
from roomkeeper.vonage.transport import Transport
from roomkeeper.vonage.video import models
from roomkeeper.vonage.video.credentials import VideoCredentials

logger = logging.getLogger(__name__)

PAGE_SIZE = 1000
"""Archives on a page: the API's maximum."""

OVERLAP = 100
"""The number of archives of a page that are requested again with the next page.

A deletion between two requests moves all older archives to smaller offsets. Up to this many
deletions cause no gap.
"""

REMEMBERED_PAGES = 3
"""The number of previous pages whose archives are recognized as repetitions."""

PAGES_AHEAD = 2
"""The pages that are read, one after the other, while one is worked on.

With only one, the request for the next page would wait for the processor, which the work on this
page needs as well.
"""

_Page = tuple[Sequence[Raw], int]
"""The archives of a page, and the offset of the next page."""

_NO_HORIZON = datetime.min.replace(tzinfo=UTC)

Refusals = Mapping[tuple[int, str | None], type[VonageError]]

# OpenTok's reference has 404 for an unknown archive, Vonage's has 400.
_UNKNOWN: Refusals = {(400, None): NotFound, (404, None): NotFound}
_NOT_DELETABLE: Refusals = {**_UNKNOWN, (403, None): NotDeletable, (409, None): NotDeletable}
_NOT_STOPPABLE: Refusals = {**_UNKNOWN, (409, None): NotStoppable}
# A request for a list names no archive, so a refusal is about the credentials or the URL.
_NOT_LISTABLE: Refusals = {
    (400, None): InvalidResponse,
    (403, None): Unauthorized,
    (404, None): InvalidResponse,
}

_AFTER_REFUSAL: Mapping[str, DeletionOutcome] = {
    "started": "not_yet",
    "paused": "not_yet",
    "stopped": "not_yet",
    "failed": "already_deleted",
    "expired": "already_deleted",
}
"""The outcome of a deletion that Vonage refuses, by the archive's status.

Vonage has no file of a failed or expired archive, and refuses to delete its record.
"""


class VideoClient(ApiClient):
    """The recordings of one project of the Video API at `base_url`. Safe to use from many threads.

    It is the RecordingsApi of the Video API. Every request, with its retries, takes at most
    `total_timeout` seconds. `timeout` is the limit in seconds of one attempt, for a connection and
    for each read. `retry` spaces the attempts. `on_unauthorized` is called each time that Vonage
    refuses the credentials, in the calling thread.

    429 (with Retry-After), 5xx and connection errors are retried, nothing else. Redirects are not
    followed. Every operation raises a VonageError when it fails: Unauthorized if Vonage refuses the
    credentials, Forbidden if it refuses this recording only. The API has the status 403 for both,
    so a list of the archives shows which it is.

    400 and 404 mean that an archive is unknown, or that the request is wrong for every archive. An
    archive counts as unknown only if Vonage has no archives, or does not refuse its newest one.

    Raises:
        ValueError: `base_url` is not an http(s) URL, or has credentials or a query.
    """

    product: ClassVar[Product] = "video"

    def __init__(
        self,
        base_url: str,
        credentials: VideoCredentials,
        *,
        total_timeout: float = 30.0,
        timeout: float = 10.0,
        retry: RetryPolicy | None = None,
        on_unauthorized: Callable[[], None] = lambda: None,
    ) -> None:
        self._project_id = credentials.project_id
        transport = Transport(
            base_url,
            credentials,
            timeout=timeout,
            retry=retry or RetryPolicy(),
            read_error=video_error,
        )
        super().__init__(transport, total_timeout, on_unauthorized)

    # --- one recording ----------------------------------------------------------------------------

    def get(self, recording_id: str) -> RecordingObservation | None:
        """Return the latest state of a recording; None if it is unknown or deleted.

        Raises:
            InvalidRecording: Vonage's data of the recording is missing or invalid.
            UnrecognizedStatus: Roomkeeper does not know its status.
        """
        archive = self._archive(recording_id)
        return observation(archive) if archive else None

    def download(self, recording_id: str) -> Download | None:
        """Return a fresh download, whose URL is valid for 10 minutes; None if there is none.

        There is none unless the archive is available: an uploaded one is in its owner's storage.
        """
        found = self.get(recording_id)
        if found is None or found.url is None:
            return None
        return Download(url=found.url, size=found.size, sha256=found.sha256)

    def stop(self, recording_id: str) -> RecordingObservation | None:
        """Stop a recording; return its state afterwards, None if it is unknown or deleted.

        Has no effect on a recording that has ended, or on an automatic archive. Vonage's refusal is
        checked with a GET.

        Raises:
            NotStoppable: Vonage refuses to stop a recording that is still in progress.
        """
        call = self._call("POST", recording_id, "stop", refusals=_NOT_STOPPABLE)
        try:
            return observation(self._read(call, recording_id))
        except (NotFound, NotStoppable) as refusal:
            archive = self._archive(recording_id)
            if archive and archive.status in {"started", "paused"}:
                raise NotStoppable(*_described("stop", refusal, archive)) from refusal
            return observation(archive) if archive else None

    def delete(self, recording_id: str) -> DeletionOutcome:
        """Delete a recording; return "already_deleted" if there is nothing left to delete.

        "not_yet" means that its file is not ready yet. Vonage's refusal is checked with a GET. If
        the archive turns out to be deletable, it may have become so just now: the deletion is sent
        once more.

        Raises:
            NotDeletable: Vonage refuses twice to delete an archive that can be deleted.
        """
        try:
            return self._delete_once(recording_id)
        except NotDeletable:
            return self._delete_once(recording_id)

    def _delete_once(self, recording_id: str) -> DeletionOutcome:
        call = self._call("DELETE", recording_id, refusals=_NOT_DELETABLE)
        try:
            self._delete(call)
        except (NotFound, NotDeletable) as refusal:
            return self._after_refused_deletion(recording_id, refusal)
        return "deleted"

    def _after_refused_deletion(self, recording_id: str, refusal: VonageError) -> DeletionOutcome:
        archive = self._archive(recording_id)
        if archive is None:
            return "already_deleted"
        if archive.status in _AFTER_REFUSAL:
            return _AFTER_REFUSAL[archive.status]
        raise NotDeletable(*_described("delete", refusal, archive)) from refusal

    def _archive(self, recording_id: str) -> Archive | None:
        """Return the archive; None if it is unknown or deleted.

        Vonage does not document its response to a GET of a deleted archive. 400, 404 and an archive
        with the status `deleted` are therefore all accepted.

        Raises:
            InvalidResponse: Vonage refuses archives that it has.
            UnrecognizedStatus: Roomkeeper does not know the archive's status.
        """
        try:
            call = self._call("GET", recording_id, refusals=_UNKNOWN)
        except InvalidId:
            return None
        try:
            archive = self._read(call, recording_id)
        except NotFound as refusal:
            self._require_acceptance_of_another(recording_id, refusal)
            return None
        return None if archive.status == "deleted" else archive

    def _require_acceptance_of_another(self, recording_id: str, refusal: NotFound) -> None:
        """Return if Vonage does not refuse its newest archive, or has no archives.

        Raises:
            InvalidResponse: Vonage lists this archive, or refuses another one that it lists.
        """
        for newest in self._items(self._list_call(offset=0, count=1)):
            id_ = models.id_of(newest)
            try:
                if id_ is None or id_ == recording_id:
                    raise refusal
                self._perform(self._call("GET", id_, refusals=_UNKNOWN))
            except NotFound as exc:
                description = f"Vonage refuses an archive that it lists ({exc.status} {exc.name})"
                raise InvalidResponse(description, _context_of(exc)) from refusal

    # --- lists ------------------------------------------------------------------------------------

    def in_session(self, session_id: str) -> Listed | None:
        """Return the recordings of a session; None if Vonage does not know the session."""
        try:
            pages = [_listed(page) for page, _ in self._without_repeats(self._pages(session_id))]
        except NotFound:
            return None
        return Listed(
            [recording for page in pages for recording in page.found],
            [message for page in pages for message in page.invalid],
            [message for page in pages for message in page.unrecognized],
        )

    def all_since(self, moment: datetime, position: int = 0) -> Iterator[Listed]:
        """Yield pages of the recordings that started at `moment` or later, newest first.

        Recordings without a start time are included. The list starts at `position`. Up to
        PAGES_AHEAD pages are read while one is worked on.
        """
        horizon = moment.replace(microsecond=0)  # the recordings' times are in whole seconds
        pages = _read_ahead(self._pages(offset=position, horizon=horizon))
        for page, next_position in self._without_repeats(pages):
            listed = _listed(page)
            yield Listed(
                [
                    each
                    for each in listed.found
                    if not each.started_at or each.started_at >= horizon
                ],
                listed.invalid,
                listed.unrecognized,
                next_position,
            )

    def _pages(
        self, session_id: str = "", offset: int = 0, horizon: datetime = _NO_HORIZON
    ) -> Iterator[_Page]:
        """Yield the archives of each page, newest first, with the offset of the next page.

        The last page is a short one, or ends with an archive from before `horizon`.
        """
        while True:
            page = self._items(self._list_call(offset, PAGE_SIZE, session_id))
            offset = max(0, offset + len(page) - OVERLAP)
            yield page, offset
            if len(page) < PAGE_SIZE or models.ends_before(page, horizon):
                return

    def _without_repeats(self, pages: Iterator[_Page]) -> Iterator[_Page]:
        """Yield pages without the archives that were on earlier pages.

        Only the latest pages are remembered, so that a long list needs no more memory.

        Raises:
            InvalidResponse: a page that is not the last has only archives of earlier pages.
        """
        remembered: deque[set[str | bytes]] = deque(maxlen=REMEMBERED_PAGES)
        is_repeated = False
        for page, next_offset in pages:
            if is_repeated:
                context = self._list_call(next_offset, PAGE_SIZE).context
                raise InvalidResponse("The list of archives repeats a page", context)
            new = _not_in(remembered, page)
            yield new, next_offset
            is_repeated = not new

    def _items(self, call: Call) -> Sequence[Raw]:
        body = self._perform(call)
        try:
            return models.items(body)
        except models.UNREADABLE as exc:
            description = f"The response does not match the Video API reference: {exc}"
            raise InvalidResponse(description, call.context) from exc

    def _list_call(self, offset: int, count: int, session_id: str = "") -> Call:
        query: dict[str, str | int] = {"offset": offset, "count": count}
        if session_id:
            query["sessionId"] = session_id
        return Call(
            "GET",
            self._path("GET"),
            query,
            refusals=_UNKNOWN if session_id else _NOT_LISTABLE,
        )

    def require_accepted_credentials(self) -> None:
        """Return if Vonage accepts the credentials for a list of archives.

        Raises:
            Unauthorized: Vonage refuses the credentials.
        """
        self._items(self._list_call(offset=0, count=1))

    # --- requests ---------------------------------------------------------------------------------

    def _call(self, method: str, *segments: str, refusals: Refusals) -> Call:
        return Call(method, self._path(method, *segments), refusals=refusals)

    def _path(self, method: str, *segments: str) -> str:
        return path(method, "v2", "project", self._project_id, "archive", *segments)

    def _read(self, call: Call, recording_id: str) -> Archive:
        """Return the archive in the response, which must have this id."""
        body = self._perform(call)
        try:
            archive = models.archive(body)
        except models.UNREADABLE as exc:
            kind = _kind_of(exc) if models.id_of(body) == recording_id else InvalidResponse
            description = f"The response does not match the Video API reference: {exc}"
            raise kind(description, call.context) from exc
        if archive.id != recording_id:
            raise InvalidResponse(f"The response has another id: {archive.id!r}", call.context)
        return archive

    def _perform(self, call: Call) -> bytes:
        try:
            return super()._perform(call)
        except Forbidden:
            self.require_accepted_credentials()
            raise


def _kind_of(exc: Exception) -> type[InvalidRecording]:
    return UnrecognizedStatus if isinstance(exc, UnknownStatus) else InvalidRecording


def _read_ahead(pages: Iterator[_Page]) -> Iterator[_Page]:
    """Yield pages that one thread reads ahead, and no more than PAGES_AHEAD of them."""
    reader = ThreadPoolExecutor(1, "read-ahead")
    try:
        ahead = deque(reader.submit(next, pages, None) for _ in range(PAGES_AHEAD))
        while page := ahead.popleft().result():
            ahead.append(reader.submit(next, pages, None))
            yield page
    finally:
        reader.shutdown(cancel_futures=True)


def _not_in(remembered: deque[set[str | bytes]], page: Sequence[Raw]) -> Sequence[Raw]:
    """Return the archives of a page, each once, without those of remembered pages; remember it."""
    by_key = {models.id_of(each) or bytes(each): each for each in page}
    known = set().union(*remembered)
    remembered.append(set(by_key))
    return [each for key, each in by_key.items() if key not in known]


def _listed(page: Sequence[Raw]) -> Listed:
    listed = models.listed(page)
    for message in listed.invalid:
        logger.warning("Vonage's list has an invalid archive: %s", message)
    for message in listed.unrecognized:
        logger.warning("Vonage's list has an archive in a new status: %s", message)
    return listed


def _described(
    operation: str, refusal: VonageError, archive: Archive
) -> tuple[str, RequestContext]:
    """Return the arguments of an error: Vonage refuses an operation on an archive."""
    description = (
        f"Vonage refuses to {operation} the archive, which is {archive.status}: "
        f"{refusal.status} {refusal.name or ''} ({refusal.message})"
    )
    return description, _context_of(refusal)


def _context_of(error: VonageError) -> RequestContext:
    return RequestContext(error.method, error.path, error.status, error.name, error.message)
