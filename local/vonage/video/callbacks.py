"""The callbacks of the Video API: their names and kinds, and samples of all of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from local.vonage.refusal import not_found
from local.vonage.settings import Kind

SAMPLES = Path(__file__).parents[3] / "events"
_PREFIX = "video_"


def name_of(body: Mapping[str, Any]) -> str:
    """Return the name by which callbacks are selected: `archive:<status>`, or the event."""
    if is_archive(body):
        return f"archive:{body.get('status')}"
    return str(body.get("event") or body.get("group") or "")


def is_archive(body: Mapping[str, Any]) -> bool:
    """Return whether it is an archive's callback. The oldest ones have no `event`."""
    return body.get("event") == "archive" or ("event" not in body and "outputMode" in body)


def kind_of(body: Mapping[str, Any]) -> Kind | None:
    """Return the kind of the callback URL for a callback of the Video API, else None."""
    if is_archive(body):
        return "video_archives"
    if "sessionId" not in body:
        return None
    event = str(body.get("event", ""))
    monitored = event.startswith(("session", "connection", "stream"))
    return "video_sessions" if monitored else "video_others"


def sample_names() -> list[str]:
    """Return the names of the samples in `events/`."""
    return sorted(file.stem.removeprefix(_PREFIX) for file in SAMPLES.glob(f"{_PREFIX}*.json"))


def sample(name: str) -> dict[str, Any]:
    """Return the sample of a callback.

    Raises:
        Refusal: there is no such sample.
    """
    if name not in sample_names():
        raise not_found(f"There is no sample with the name: {name}")
    content = (SAMPLES / f"{_PREFIX}{name}.json").read_bytes()
    return msgspec.json.decode(content, type=dict[str, Any])
