"""The Video API's response bodies, parsed into observations. Pure.

Every field but an archive's ids and status may be missing, null or of another type.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

import msgspec
from msgspec import Raw, Struct

from roomkeeper.callbacks import leniency, video_archives
from roomkeeper.callbacks.body import without_lone_surrogates
from roomkeeper.callbacks.leniency import Fields
from roomkeeper.callbacks.video_archives import Archive, InvalidArchive, UnknownStatus
from roomkeeper.domain.observations import Listed, RecordingObservation

UNREADABLE = (ValueError, RecursionError)
"""The exceptions that the functions below raise for an invalid body."""


class _List(Struct):
    # `count` has two published meanings, so it is not used.
    items: list[Raw]


_read_list = msgspec.json.Decoder(_List).decode
_read_fields = msgspec.json.Decoder(dict[str, Raw]).decode


def items(body: bytes) -> Sequence[Raw]:
    """Return the items of a list of archives, not parsed yet."""
    return _read_list(without_lone_surrogates(body)).items


def archive(body: bytes | Raw) -> Archive:
    """Return the archive in `body`."""
    return video_archives.archive(_fields(body))


def listed(raw_items: Sequence[Raw]) -> Listed:
    """Return the recordings among the items. Invalid ones do not affect the others.

    Deleted archives are left out: they are absent for `get` as well. Archives of an unknown status
    are `unrecognized`, since Vonage may add statuses.
    """
    found: list[RecordingObservation] = []
    invalid: list[str] = []
    unrecognized: list[str] = []
    for raw in raw_items:
        try:
            item = archive(raw)
        except UnknownStatus as exc:
            unrecognized.append(f"{id_of(raw)}: {exc}")
        except InvalidArchive as exc:
            invalid.append(f"{id_of(raw) or 'without an id'}: {exc}")
        else:
            found += [] if item.status == "deleted" else [video_archives.observation(item)]
    return Listed(tuple(found), tuple(invalid), tuple(unrecognized))


def ends_before(raw_items: Sequence[Raw], horizon: datetime) -> bool:
    """Return True if the last item whose start is known started before `horizon`."""
    for raw in reversed(raw_items):
        with suppress(*UNREADABLE):
            if started_at := video_archives.observation(archive(raw)).started_at:
                return started_at < horizon
    return False


def id_of(body: bytes | Raw) -> str | None:
    """Return an archive's id, even if the rest is invalid; None without a valid id."""
    try:
        return leniency.identifier(_fields(body), "id")
    except UNREADABLE:
        return None


def _fields(body: bytes | Raw) -> Fields:
    decodable = body if isinstance(body, Raw) else without_lone_surrogates(body)
    try:
        return _read_fields(decodable)
    except msgspec.ValidationError as exc:
        raise InvalidArchive("the archive is not a JSON object") from exc
