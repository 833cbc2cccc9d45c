"""The base class of the clients of Vonage's products."""

import copy
from collections.abc import Callable
from typing import Self

from roomkeeper.vonage.calls import Call
from roomkeeper.vonage.errors import InvalidResponse, Unauthorized
from roomkeeper.vonage.retry import Deadline
from roomkeeper.vonage.transport import Transport


class ApiClient:
    """The base of a client: it owns `transport`, and is a context manager that closes it.

    Every call takes at most `total_timeout` seconds, retries included; `within` gives several calls
    one deadline. `on_unauthorized` is called at each 401, in the calling thread.
    """

    def __init__(
        self, transport: Transport, total_timeout: float, on_unauthorized: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._total_timeout = total_timeout
        self._on_unauthorized = on_unauthorized
        self._deadline: Deadline | None = None

    def within(self, deadline: Deadline) -> Self:
        """Return this client, with the same connections, for calls that all end by `deadline`.

        Those that start later raise Unavailable.
        """
        limited = copy.copy(self)
        limited._deadline = deadline
        return limited

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._transport.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._transport.close()

    def _perform(self, call: Call) -> bytes:
        """Return the body of the response."""
        try:
            return self._transport.perform(call, self._seconds())
        except Unauthorized:
            self._on_unauthorized()
            raise

    def _seconds(self) -> float:
        """Return how long a call that starts now may take."""
        if self._deadline is None:
            return self._total_timeout
        return min(self._total_timeout, self._deadline.remaining())

    def _delete(self, call: Call) -> None:
        """Delete an item. Vonage responds with an empty 204: InvalidResponse for any body."""
        if self._perform(call).strip():
            raise InvalidResponse("The response to a deletion has a body", call.context)
