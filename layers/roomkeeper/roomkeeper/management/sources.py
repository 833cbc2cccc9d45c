"""Recordings at Vonage, looked up in the APIs of all products that the stack serves."""

import logging
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from roomkeeper.aws.secrets import SecretUnavailable
from roomkeeper.domain.observations import Product, RecordingObservation
from roomkeeper.errors import RoomkeeperError
from roomkeeper.vonage import RecordingsApi, VonageError
from roomkeeper.vonage.connect import Clients

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class RecordingsAtVonage:
    """Recordings of all products in `clients`, for callers who may not know the product.

    Without the product, every served product is asked. One product's failure is logged if another
    product has a result. It is raised otherwise, because the failed product may be the one that has
    the recording: VonageError or SecretUnavailable. A product that the stack does not serve any
    more has nothing.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def recording(
        self, recording_id: str, product: Product | None = None
    ) -> RecordingObservation | None:
        """Return the recording; None if no product has it."""
        products = () if product is None else (product,)
        found = self._ask(products, lambda api: api.get(recording_id))
        return found[0] if found else None

    def in_session(
        self, session_id: str, products: Collection[Product] = ()
    ) -> Sequence[RecordingObservation] | None:
        """Return the session's recordings; None if no product has the session."""
        lists = self._ask(products, lambda api: api.in_session(session_id))
        return [each for listed in lists for each in listed.found] if lists else None

    def api(self, product: Product) -> RecordingsApi:
        """Return the API of a product, as `Clients.recordings_of` does."""
        return self._clients.recordings_of(product)

    def _ask(
        self, products: Collection[Product], question: Callable[[RecordingsApi], Result | None]
    ) -> list[Result]:
        results: list[Result] = []
        failures: list[RoomkeeperError] = []
        served = self._clients.served
        for product in [each for each in products if each in served] if products else served:
            try:
                result = question(self.api(product))
                results += [result] if result is not None else []
            except (VonageError, SecretUnavailable) as error:
                failures.append(error)
        if failures and not results:
            raise failures[0]
        for failure in failures:
            logger.warning("One of Vonage's products was left out: %s", failure)
        return results
