"""The emulator's journal: the callbacks it sent and the requests it received."""

from collections import deque
from threading import RLock
from typing import Any

from local.vonage.deliveries import Delivery

MAX_REQUESTS = 100_000


class Journal:
    """Deliveries and requests in order. `lock` guards all access."""

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self.reset()

    def reset(self) -> None:
        """Remove all entries."""
        with self._lock:
            self._deliveries: list[Delivery] = []
            self._requests: deque[dict[str, Any]] = deque(maxlen=MAX_REQUESTS)

    def add_delivery(self, delivery: Delivery) -> None:
        """Add a callback at the start of its sending."""
        with self._lock:
            self._deliveries.append(delivery)

    def deliveries(self) -> list[Delivery]:
        """Return the callbacks in the order of their first attempts."""
        with self._lock:
            return list(self._deliveries)

    def add_request(self, entry: dict[str, Any]) -> None:
        """Add a request to the API; beyond MAX_REQUESTS the oldest is removed."""
        with self._lock:
            self._requests.append(entry)

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests to the API in the order of the responses."""
        with self._lock:
            return list(self._requests)
