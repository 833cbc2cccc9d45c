"""What the emulator did: the callbacks it sent and the requests it answered."""

from collections import deque
from threading import RLock
from typing import Any

from local.vonage.deliveries import Delivery

REQUESTS_KEPT = 100_000


class Journal:
    """Deliveries and requests in their order, guarded by the `lock` it is given."""

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self.reset()

    def reset(self) -> None:
        """Begin with an empty page."""
        with self._lock:
            self._deliveries: list[Delivery] = []
            self._requests: deque[dict[str, Any]] = deque(maxlen=REQUESTS_KEPT)

    def add_delivery(self, delivery: Delivery) -> None:
        """Note a callback as being sent from now on."""
        with self._lock:
            self._deliveries.append(delivery)

    def deliveries(self) -> list[Delivery]:
        """Return the callbacks in the order in which their sending began."""
        with self._lock:
            return list(self._deliveries)

    def add_request(self, entry: dict[str, Any]) -> None:
        """Note a request to the API; the oldest note goes when there are REQUESTS_KEPT."""
        with self._lock:
            self._requests.append(entry)

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests to the API in the order in which they were answered."""
        with self._lock:
            return list(self._requests)
