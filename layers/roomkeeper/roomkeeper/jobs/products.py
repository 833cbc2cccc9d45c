"""The products of Vonage that a run works with: an outage of one does not end the run.

A run stops calling a product that refuses the credentials, or fails too often without a success in
between. It continues with the items of the others. It ends when no product is left.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from roomkeeper.domain.observations import Product
from roomkeeper.errors import RoomkeeperError
from roomkeeper.jobs.batch import AbortBatch, CountedElsewhere, StoppedBy
from roomkeeper.vonage import NotServed, RecordingsApi, Unauthorized, VonageError


class ProductStopped(RoomkeeperError):
    """The run no longer calls the product. The item is left for a later run."""


class Products:
    """The APIs of a run. Thread-safe.

    After `consecutive_failures` failures of a product without a success in between, the run stops
    calling it. Failures of single items do not count.
    """

    def __init__(self, apis: Mapping[Product, RecordingsApi], *, consecutive_failures: int) -> None:
        self._apis = apis
        self._most_failures = consecutive_failures
        self._failures: Counter[Product] = Counter()
        self._lock = threading.Lock()
        self._stopped: dict[Product, StoppedBy] = {}

    def is_in_use(self, product: Product) -> bool:
        """Return True if the run calls the product."""
        return product in self._apis and product not in self._stopped

    @property
    def in_use(self) -> list[Product]:
        """The products that the run calls."""
        return [product for product in self._apis if self.is_in_use(product)]

    @property
    def stopped(self) -> Mapping[Product, StoppedBy]:
        """The products that the run stopped calling, each with the reason."""
        return dict(self._stopped)

    @property
    def all_stopped_by(self) -> StoppedBy | None:
        """The reason why the run no longer calls any product; None while it calls at least one."""
        if not self._stopped or self.in_use:
            return None
        return min(self._stopped.values(), key=lambda reason: reason != "unauthorized")

    @contextmanager
    def use(self, product: Product) -> Iterator[RecordingsApi]:
        """Yield the API of a product for one item, and count whether it failed.

        Raises:
            NotServed: the stack does not serve the product, or has no credentials for it.
            ProductStopped: the run does not call the product any more.
        """
        if product not in self._apis:
            raise NotServed(
                f"There is no access to the product {product}. Store its credentials with "
                "make configure."
            )
        if product in self._stopped:
            raise ProductStopped(f"The run does not call the product {product} any more.")
        try:
            yield self._apis[product]
        except VonageError as error:
            self._count_failure(product, error)
            raise
        with self._lock:
            self._failures[product] = 0

    def _count_failure(self, product: Product, error: VonageError) -> None:
        with self._lock:
            self._failures[product] += not error.is_item_specific
            if isinstance(error, Unauthorized):
                self._stopped[product] = "unauthorized"
            elif self._failures[product] >= self._most_failures:
                self._stopped.setdefault(product, "failures")

    def for_batch(self, error: RoomkeeperError) -> RoomkeeperError:
        """Return the error to raise for an item that failed with `error`.

        The returned error ends the batch if no product is left. Otherwise, a product's failure does
        not count towards the batch's own limit.
        """
        if reason := self.all_stopped_by:
            return AbortBatch(str(error), reason)
        if isinstance(error, VonageError) and not error.is_item_specific:
            return CountedElsewhere(str(error))
        return error
