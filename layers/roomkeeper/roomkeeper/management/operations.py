"""The operations of the management API. A change is made at Vonage first, then in the table."""

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from roomkeeper.aws.secrets import SecretUnavailable
from roomkeeper.domain.observations import Product, RecordingObservation
from roomkeeper.domain.recordings import Recording, is_in_owners_storage, url_expiry
from roomkeeper.domain.rooms import Room
from roomkeeper.errors import RoomkeeperError
from roomkeeper.management.requests import HoldRequest, Page
from roomkeeper.management.views import Held, KnownRecording, Recordings, Republished, Rooms, merge
from roomkeeper.store import Store
from roomkeeper.times import from_iso, iso
from roomkeeper.vonage import NotServed, RecordingsApi, VonageError, api_of
from roomkeeper.vonage.connect import Clients

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class NotKnown(RoomkeeperError):
    """Neither Vonage nor the table has the item; or the table lacks it, and is required."""


class OnHold(RoomkeeperError):
    """The recording is protected from deletion."""


class AlreadyDeleted(RoomkeeperError):
    """The recording is deleted; only its item in the table remains."""


class NotDeletableYet(RoomkeeperError):
    """The recording is not uploaded yet, and Vonage deletes only uploaded ones."""


class NotUploaded(RoomkeeperError):
    """There is no file: the recording was not uploaded, or Vonage has deleted the file."""


class Management:
    """All operations of the management API, on a store and the clients of Vonage's products.

    Each raises VonageError or StoreUnavailable if one of those fails, and is idempotent.
    """

    def __init__(self, store: Store, clients: Clients) -> None:
        self._store = store
        self._clients = clients
        self._apis = clients.recordings

    # --- rooms ------------------------------------------------------------------------------------

    def rooms(self, page: Page) -> Rooms:
        """Return the rooms of a page; its cursor is Vonage's `start_id`."""
        found = self._clients.rooms.list_rooms(page.cursor, page.size)
        return Rooms(
            rooms=found.rooms,
            next_cursor=found.next_start_id,
            total_items=found.total_items,
            invalid_rooms=len(found.invalid),
        )

    def room(self, room_id: str) -> Room:
        """Return the room."""
        return self._clients.rooms.get_room(room_id)

    def update_expiry(self, room_id: str, expires_at: datetime) -> Room:
        """Set the expiry of a long-term room; return the updated room."""
        return self._clients.rooms.update_room_expiry(room_id, expires_at)

    def delete_room(self, room_id: str) -> None:
        """Delete the room."""
        self._clients.rooms.delete_room(room_id)

    # --- recordings -------------------------------------------------------------------------------

    def recordings_in(self, session_id: str) -> Recordings:
        """Return the session's recordings at Vonage and in the table, merged, in order of start.

        Raises:
            NotKnown: Vonage does not have the session, and the table has no recording of it.
        """
        stored = self._store.recordings.get_many(self._store.recordings.in_session(session_id))
        listed = self._session_at_vonage(session_id, {each.product for each in stored.values()})
        at_vonage = {each.recording_id: each for each in listed or ()}
        stored |= self._store.recordings.get_many(at_vonage.keys() - stored.keys())
        if listed is None and not stored:
            raise NotKnown(f"Neither Vonage nor Roomkeeper knows the session {session_id!r}.")
        room_id = self._store.sessions.room_ids([session_id]).get(session_id)
        ids = {**at_vonage, **stored}
        merged = [merge(stored.get(id_), at_vonage.get(id_), room_id) for id_ in ids]
        return Recordings(recordings=sorted(merged, key=_start))

    def recording(self, recording_id: str) -> KnownRecording:
        """Return the recording, merged from Vonage and the table, with a fresh URL if there is one.

        Raises:
            NotKnown: neither has the recording.
        """
        stored = self._store.recordings.get(recording_id)
        at_vonage = self._at_vonage(recording_id, stored)
        known = stored or at_vonage
        if known is None:
            raise NotKnown(f"Neither Vonage nor Roomkeeper knows the recording {recording_id!r}.")
        rooms = self._store.sessions.room_ids([known.session_id])
        return merge(stored, at_vonage, rooms.get(known.session_id))

    def delete_recording(self, recording_id: str, now: datetime) -> None:
        """Delete the recording at Vonage, then mark it deleted in the table.

        Does nothing if it is marked already. A recording that Vonage no longer has counts as
        deleted by this call: an earlier attempt may have failed between the two steps.

        Raises:
            OnHold: the recording is on hold; release the hold first.
            NotDeletableYet: the recording is not uploaded yet.
            NotKnown: neither Vonage nor the table has the recording.
        """
        stored = self._store.recordings.get(recording_id)
        if stored and stored.deleted_at:
            return
        if stored and stored.hold:
            raise OnHold(
                f"The recording {recording_id!r} is on hold since {iso(stored.hold.since)}, by "
                f"{stored.hold.requested_by}: {stored.hold.reason}. Release the hold to delete it."
            )
        known = stored or self._at_vonage(recording_id, stored)
        if known is None:
            raise NotKnown(f"Neither Vonage nor Roomkeeper knows the recording {recording_id!r}.")
        if self._api(known.product).delete(recording_id) == "not_yet":
            raise NotDeletableYet(
                f"Vonage has not finished the recording {recording_id!r} yet. Delete it after its "
                "recording:uploaded or recording:stored."
            )
        self._store.recordings.mark_deleted(
            recording_id,
            "management",
            now,
            file_kept=is_in_owners_storage(known),
            adding=known,
        )

    def hold(self, recording_id: str, request: HoldRequest, caller: str, now: datetime) -> Held:
        """Protect the recording from deletion; return the hold, which replaces an earlier one.

        It is requested by `caller`, unless the request names somebody else.

        Raises:
            NotKnown: the recording is not in the table, where cleanup would find it.
            AlreadyDeleted: the recording is deleted.
        """
        since = from_iso(iso(now))  # the precision of the table
        requested_by = request.requested_by or caller
        is_held = self._store.recordings.hold(recording_id, request.reason, requested_by, since)
        stored = self._stored(recording_id)
        if not is_held:
            raise AlreadyDeleted(f"The recording {recording_id!r} is deleted already.")
        return Held(
            product=stored.product, reason=request.reason, requested_by=requested_by, since=since
        )

    def release(self, recording_id: str) -> None:
        """Remove the recording's hold, if there is one.

        Raises:
            NotKnown: the recording is not in the table.
        """
        if not self._store.recordings.release(recording_id):
            self._stored(recording_id)

    def republish(self, recording_id: str, now: datetime) -> Republished:
        """Publish the recording's `recording:uploaded` again, with a fresh URL.

        Raises:
            NotKnown: the recording is not in the table.
            AlreadyDeleted: the recording is deleted.
            NotUploaded: no `recording:uploaded` was received, or Vonage has no file.
        """
        stored = self._stored(recording_id)
        if stored.deleted_at:
            raise AlreadyDeleted(f"The recording {recording_id!r} is deleted.")
        if "recording:uploaded" not in stored.seen:
            raise NotUploaded(f"No recording:uploaded was received for {recording_id!r}.")
        download = self._api(stored.product).download(recording_id)
        if download is None:
            raise NotUploaded(f"Vonage no longer has a file of the recording {recording_id!r}.")
        fresh = msgspec.structs.replace(
            stored, url=download.url, url_expires_at=url_expiry(download.url)
        )
        event_id = self._store.outbox.republish(fresh, now)
        return Republished(
            product=stored.product, event_id=event_id, url_expires_at=fresh.url_expires_at
        )

    # --- sources ----------------------------------------------------------------------------------

    def _stored(self, recording_id: str) -> Recording:
        stored = self._store.recordings.get(recording_id)
        if stored is None:
            raise NotKnown(f"Roomkeeper does not know the recording {recording_id!r}.")
        return stored

    def _at_vonage(
        self, recording_id: str, stored: Recording | None
    ) -> RecordingObservation | None:
        """Return the recording at Vonage; of any product if it is not stored."""
        products = {stored.product} if stored else ()
        found = self._ask(products, lambda api: api.get(recording_id))
        return found[0] if found else None

    def _session_at_vonage(
        self, session_id: str, products: Collection[Product]
    ) -> Sequence[RecordingObservation] | None:
        """Return the session's recordings at Vonage, None if no product has the session."""
        lists = self._ask(products, lambda api: api.in_session(session_id))
        return [each for listed in lists for each in listed.found] if lists else None

    def _ask(
        self, products: Collection[Product], question: Callable[[RecordingsApi], Answer | None]
    ) -> list[Answer]:
        """Return the answers of these products; of all that are served if there are none.

        A product that fails does not hide what another one knows. If none of the others knows
        anything, its failure is the answer: it may be the one that has the recording.

        Raises:
            VonageError, SecretUnavailable, NotServed: a product failed, and no other has an answer.
        """
        answers: list[Answer] = []
        failures: list[RoomkeeperError] = []
        for product in products or {**self._apis, **self._clients.unavailable}:
            try:
                answer = question(self._api(product))
                answers += [answer] if answer is not None else []
            except (VonageError, NotServed, SecretUnavailable) as error:
                failures.append(error)
        if failures and not answers:
            raise failures[0]
        for failure in failures:
            logger.warning("One of Vonage's products was left out: %s", failure)
        return answers

    def _api(self, product: Product) -> RecordingsApi:
        """Return the API of a product.

        Raises:
            SecretUnavailable: the stack serves the product, but has no credentials for it.
            NotServed: the stack does not serve the product.
        """
        if product in self._clients.unavailable:
            raise self._clients.unavailable[product]
        return api_of(self._apis, product)


def _start(recording: KnownRecording) -> tuple[str, str]:
    started_at = recording.started_at
    return started_at.isoformat() if started_at else "", recording.recording_id
