"""The emulator's configuration: settings, faults and targets of callbacks."""

import time
from collections.abc import Iterable
from threading import RLock
from typing import Any

import msgspec

from local.vonage.faults import ArmedFault, Fault
from local.vonage.settings import Kind, Settings, Target


class Switches:
    """Settings, faults and targets of callbacks. `lock` guards all access."""

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self.reset()

    def reset(self) -> None:
        """Restore the initial configuration."""
        with self._lock:
            self.settings = Settings()
            self._faults: list[ArmedFault] = []
            self._targets: dict[Kind, Target] = {}

    def change_settings(self, changes: dict[str, Any]) -> Settings:
        """Change settings; return all settings.

        Raises:
            msgspec.ValidationError: a setting is unknown or its value is invalid.
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
        """Return the target for callbacks of `kind`, if it is set."""
        with self._lock:
            return self._targets.get(kind)

    def add_fault(self, fault: Fault) -> None:
        """Add a fault."""
        with self._lock:
            self._faults.append(ArmedFault(fault))

    def clear_faults(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def fault(self, operation: str) -> Fault | None:
        """Return the first fault that applies to this request for `operation`, if any."""
        with self._lock:
            now = time.monotonic()
            taken = (armed.take(operation, now) for armed in self._faults)
            return next((fault for fault in taken if fault is not None), None)
