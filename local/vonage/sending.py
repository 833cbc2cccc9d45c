"""How the callbacks of a meeting or session are sent: repeated, lost, reordered. Pure."""

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct

from local.vonage.settings import Seconds

Body = dict[str, Any]
Count = Annotated[int, Meta(ge=0, le=1000)]
NameOf = Callable[[Body], str]
"""Returns the name of a callback by which `Sending` selects it."""


class Sending(Struct, kw_only=True, forbid_unknown_fields=True):
    """How callbacks are sent. Events have the names of the callbacks."""

    deliver: bool = True
    """Whether to send callbacks at all."""
    repeat: Mapping[str, Count] = {}
    """By event: how many additional times its callback is sent."""
    drop: frozenset[str] = frozenset()
    """The events whose callbacks are not sent."""
    order: tuple[str, ...] = ()
    """The order of events; events not listed follow in their natural order."""
    shuffle_seed: int | None = None
    """If set, the callbacks are sent in a random order with this seed."""
    rename: Mapping[str, str] = {}
    """Other names for events, such as `recording:ready`."""
    delay: Mapping[str, Seconds] = {}
    """By event: seconds to wait before its callback is sent."""


def arranged(bodies: Iterable[Body], sending: Sending, name_of: NameOf) -> list[Body]:
    """Return the callbacks to send, in order, with repetition, loss and disorder applied."""
    kept = [body for body in bodies if name_of(body) not in sending.drop]
    sent = [body for body in kept for _ in range(1 + sending.repeat.get(name_of(body), 0))]
    ranks = {event: index for index, event in enumerate(sending.order)}
    sent.sort(key=lambda body: ranks.get(name_of(body), len(ranks)))
    if sending.shuffle_seed is not None:
        random.Random(sending.shuffle_seed).shuffle(sent)  # noqa: S311 - repeatable
    return sent
