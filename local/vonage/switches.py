"""What the emulator was told: how to behave, what to let go wrong, where to send callbacks."""

import time
from collections.abc import Iterable
from threading import RLock
from typing import Any

import msgspec

from local.vonage.faults import ArmedFault, Fault
from local.vonage.settings import Kind, Settings, Target


class Switches:
    """Settings, faults and the targets of callbacks, guarded by the `lock` they are given."""

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self.reset()

    def reset(self) -> None:
        """Put everything back to how it was at the start."""
        with self._lock:
            self.settings = Settings()
            self._faults: list[ArmedFault] = []
            self._targets: dict[Kind, Target] = {}

    def change_settings(self, changes: dict[str, Any]) -> Settings:
        """Return the settings with `changes` made.

        Raises:
            msgspec.ValidationError: a setting is unknown, or cannot have that value.
        """
        with self._lock:
            changed = msgspec.to_builtins(self.settings) | changes
            self.settings = msgspec.convert(changed, Settings)
            return self.settings

    def set_target(self, kinds: Iterable[Kind], target: Target) -> None:
        """Send callbacks of these `kinds` to `target` from now on."""
        with self._lock:
            self._targets.update(dict.fromkeys(kinds, target))

    def target(self, kind: Kind) -> Target | None:
        """Return where callbacks of `kind` go, if that was set."""
        with self._lock:
            return self._targets.get(kind)

    def add_fault(self, fault: Fault) -> None:
        """Switch a fault on."""
        with self._lock:
            self._faults.append(ArmedFault(fault))

    def clear_faults(self) -> None:
        """Switch every fault off."""
        with self._lock:
            self._faults.clear()

    def fault(self, operation: str) -> Fault | None:
        """Return what strikes this request for `operation`: the first fault that does, if any."""
        with self._lock:
            now = time.monotonic()
            strikes = (armed.strike(operation, now) for armed in self._faults)
            return next((fault for fault in strikes if fault is not None), None)
