"""Published events: their names, content and ids. No I/O."""

import uuid
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from roomkeeper.domain.observations import DeletedBy, Product
from roomkeeper.types import Bytes, Moment, Seconds, ShortText

# Less strict than callback ids: the table may have items from before those were restricted.
Id = Annotated[str, Meta(pattern=r"^[^/\\]*[^./\\][^/\\]*$", max_length=256)]

SOURCE = "roomkeeper"
VERSION: Literal["1"] = "1"

_NAMESPACE = uuid.UUID("5f0c1b86-3c0e-5d9c-9d0a-1f6f5c9f7a51")

Origin = Literal["callback", "management", "cleanup", "reconciliation", "extension", "copying"]
"""The source of an event: a callback, a management API caller, or a scheduled job."""


class Data(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The data of every event. `product` is the product of Vonage that the event is about."""

    product: Product


class RecordingStarted(Data, frozen=True, kw_only=True, omit_defaults=True):
    """A recording has started.

    `room_id` is absent in all events of the Video API, which has no rooms, and if no callback named
    the session's room.
    """

    recording_id: Id
    session_id: Id
    room_id: Id | None = None


class RecordingPaused(RecordingStarted, frozen=True, kw_only=True, omit_defaults=True):
    """A recording was paused, or resumed after a pause."""

    occurred_at: Moment | None = None


class RecordingEnded(RecordingStarted, frozen=True, kw_only=True, omit_defaults=True):
    """A recording has ended and is being processed. `duration` is in seconds.

    `reason` is Vonage's, such as `user initiated`.
    """

    started_at: Moment | None = None
    ended_at: Moment | None = None
    duration: Seconds | None = None
    reason: str | None = None


class RecordingStored(RecordingEnded, frozen=True, kw_only=True, omit_defaults=True):
    """A recording's file is in the storage that its owner set at Vonage. There is no URL.

    `size` is in bytes. `sha256` is the checksum of the file in base64.
    """

    size: Bytes | None = None
    sha256: str | None = None


class RecordingUploaded(RecordingStored, frozen=True, kw_only=True, omit_defaults=True):
    """A recording can be downloaded. Its `url` is a secret and expires at `url_expires_at`.

    Vonage deletes the file at `expires_at`, which is absent if it is unknown.
    """

    url: str | None = None
    url_expires_at: Moment | None = None
    expires_at: Moment | None = None


class RecordingCopied(RecordingStarted, frozen=True, kw_only=True, omit_defaults=True):
    """A recording was copied to the operator's bucket, and the copy is verified.

    `size` is in bytes. `sha256` is the checksum of the file in base64. `version_id` is S3's version
    of the object; it is absent if the bucket has no versioning.
    """

    bucket: str
    key: str
    size: Bytes
    sha256: str
    version_id: str | None = None


class RecordingFailed(RecordingEnded, frozen=True, kw_only=True, omit_defaults=True):
    """A recording has failed. `reason` is Vonage's. There is no file."""


class RecordingExpiring(RecordingStarted, frozen=True, kw_only=True, omit_defaults=True):
    """Vonage will delete the file of a recording at `expires_at`."""

    expires_at: Moment | None = None


class RecordingExpired(RecordingExpiring, frozen=True, kw_only=True, omit_defaults=True):
    """Vonage has deleted the file of a recording because of its age."""


class RecordingDeleted(RecordingStarted, frozen=True, kw_only=True, omit_defaults=True):
    """A recording was deleted at Vonage. `deleted_by` is `vonage` if Roomkeeper did not do it.

    `file_kept` is true if the file remains in the storage that its owner set at Vonage, and absent
    otherwise.
    """

    deleted_at: Moment
    deleted_by: DeletedBy
    file_kept: bool = False


class RecordingLost(RecordingStarted, frozen=True, kw_only=True, omit_defaults=True):
    """A recording is missing at Vonage, and no callback ever announced its upload."""

    missing_at: Moment


class SessionStarted(Data, frozen=True, kw_only=True, omit_defaults=True):
    """A session has started, in a room if it is of the Meetings API.

    A session of the Video API may start and end several times.
    """

    session_id: Id
    room_id: Id | None = None
    started_at: Moment | None = None


class SessionEnded(SessionStarted, frozen=True, kw_only=True, omit_defaults=True):
    """A session has ended. `reason` is Vonage's."""

    ended_at: Moment | None = None
    reason: str | None = None


class SessionNotification(Data, frozen=True, kw_only=True, omit_defaults=True):
    """Vonage announces a change of a session. `reason` names it, such as `serverRotation`.

    `remaining_time` is Vonage's number, unchanged.
    """

    session_id: Id
    room_id: Id | None = None
    reason: str | None = None
    remaining_time: float | None = None


class Participant(Data, frozen=True, kw_only=True, omit_defaults=True):
    """A participant joined or left a session. Names are left out because they are personal data.

    `reason` is Vonage's reason for a leave.
    """

    participant_id: Id
    session_id: Id
    room_id: Id | None = None
    type: str | None = None
    is_host: bool | None = None
    joined_at: Moment | None = None
    left_at: Moment | None = None
    reason: str | None = None


class Stream(Data, frozen=True, kw_only=True, omit_defaults=True):
    """A participant's stream was created or destroyed. Its name is left out: it is personal data.

    `video_type` is Vonage's, such as `camera` or `screen`. `reason` is Vonage's reason for the
    destruction.
    """

    stream_id: Id
    session_id: Id
    room_id: Id | None = None
    participant_id: Id | None = None
    video_type: ShortText | None = None
    created_at: Moment | None = None
    destroyed_at: Moment | None = None
    reason: str | None = None


class RoomExpired(Data, frozen=True, kw_only=True, omit_defaults=True):
    """A room has expired for good."""

    room_id: Id
    room_type: str | None = None
    expires_at: Moment | None = None
    created_at: Moment | None = None


class RoomExtended(Data, frozen=True, kw_only=True, omit_defaults=True):
    """A room was extended to `expires_at` by the operator's policy, for the given `reason`."""

    room_id: Id
    previous_expires_at: Moment
    expires_at: Moment
    reason: str


class Unrecognized(Data, frozen=True, kw_only=True, omit_defaults=True):
    """An authentic callback that is not recognized. The table's item `key` has its body."""

    key: str
    reason: str
    name: Annotated[str, Meta(max_length=128)] | None = None


data_types: Mapping[str, type[Data]] = {
    "recording:started": RecordingStarted,
    "recording:paused": RecordingPaused,
    "recording:resumed": RecordingPaused,
    "recording:ended": RecordingEnded,
    "recording:uploaded": RecordingUploaded,
    "recording:stored": RecordingStored,
    "recording:copied": RecordingCopied,
    "recording:failed": RecordingFailed,
    "recording:expiring": RecordingExpiring,
    "recording:expired": RecordingExpired,
    "recording:deleted": RecordingDeleted,
    "recording:lost": RecordingLost,
    "session:started": SessionStarted,
    "session:ended": SessionEnded,
    "session:notification": SessionNotification,
    "session:participant:joined": Participant,
    "session:participant:left": Participant,
    "session:stream:created": Stream,
    "session:stream:destroyed": Stream,
    "room:expired": RoomExpired,
    "room:extended": RoomExtended,
    "callback:unrecognized": Unrecognized,
}
"""The type of `data` for each detail-type."""

RECEIVED_AT: Mapping[str, str] = {
    "recording:started": "started_received_at",
    "recording:ended": "ended_received_at",
    "recording:uploaded": "uploaded_at",
    "recording:stored": "stored_at",
    "recording:copied": "copied_at",
    "recording:failed": "failed_at",
    "recording:expiring": "expiring_at",
    "recording:expired": "expired_at",
    "recording:deleted": "deleted_at",
    "recording:lost": "missing_at",
    "session:started": "started_received_at",
    "session:ended": "ended_received_at",
}
"""For each event, the attribute of its item with the time when its cause was received."""


class Metadata(Struct, frozen=True, kw_only=True):
    """The metadata of every event: its id for deduplication, its times and its origin.

    `occurred_at` is the time that Vonage reports. Where Vonage reports none, it equals
    `received_at`, the time when this stack received the cause, by its own clock.
    """

    event_id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    version: Literal["1"] = VERSION
    occurred_at: Moment
    received_at: Moment
    origin: Origin = "callback"


class Event(Struct, frozen=True, kw_only=True):
    """One event for the bus: `name` becomes the detail-type, `metadata` and `data` the detail."""

    name: str
    metadata: Metadata
    data: Data

    def detail(self) -> str:
        """Return the event's detail as JSON."""
        return msgspec.json.encode({"metadata": self.metadata, "data": self.data}).decode()

    @property
    def session_lacking_room(self) -> str | None:
        """The id of the session whose room this event lacks; None if no room is missing."""
        data = self.data
        if isinstance(data, RecordingStarted) and data.product == "meetings" and not data.room_id:
            return data.session_id
        return None

    def in_room(self, room_id: str) -> "Event":
        """Return a copy of the event with the room's id."""
        return msgspec.structs.replace(
            self, data=msgspec.structs.replace(self.data, room_id=room_id)
        )


def event_id(key: str, name: str) -> str:
    """Return the id of the event `name` of the item `key`. The same input gives the same id."""
    return str(uuid.uuid5(_NAMESPACE, f"{key} {name}"))
