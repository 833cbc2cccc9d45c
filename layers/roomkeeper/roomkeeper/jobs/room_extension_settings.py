"""The settings of the room extension, in a module of their own to keep them out of cold intakes."""

from collections.abc import Mapping
from datetime import timedelta

import msgspec
from msgspec import Struct

from roomkeeper.domain.rooms import ExtensionPolicy, Selection
from roomkeeper.settings import Misconfigured


class RoomExtensionSettings(Struct, frozen=True, kw_only=True):
    """The settings of the room extension."""

    table_name: str
    event_days: int
    policy: ExtensionPolicy

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "RoomExtensionSettings":
        """Return the settings in `env`.

        Raises:
            Misconfigured: the settings contradict each other.
        """
        used_days, session_days = int(env["ONLY_ROOMS_USED_WITHIN_DAYS"]), int(env["SESSION_DAYS"])
        if used_days > session_days:
            raise Misconfigured(
                f"RoomExtensionUsedWithinDays is {used_days}, but sessions are deleted after "
                f"SessionRetentionDays, {session_days}: rooms in use would count as unused."
            )
        try:
            policy = ExtensionPolicy(
                within=timedelta(days=int(env["EXTEND_WITHIN_DAYS"])),
                extend_to=timedelta(days=int(env["EXTEND_TO_DAYS"])),
                selection=msgspec.convert(env["ROOM_SELECTION"], Selection),
                keep_marker=env["KEEP_MARKER"],
                let_expire_marker=env["LET_EXPIRE_MARKER"],
                used_within=timedelta(days=used_days) if used_days else None,
                expire_after_use=env["EXTEND_EXPIRE_AFTER_USE"] == "true",
            )
        except ValueError as exc:
            raise Misconfigured(f"The settings of the room extension are invalid: {exc}") from exc
        return cls(table_name=env["TABLE_NAME"], event_days=int(env["EVENT_DAYS"]), policy=policy)
