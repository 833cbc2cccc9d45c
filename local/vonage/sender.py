"""Posts callbacks as a webhook sender does: optionally signed, and with retries."""

import hashlib
import threading
import time
import uuid
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import jwt
import msgspec
import requests
from requests.adapters import HTTPAdapter

from local.vonage.deliveries import Attempt, Delivery
from local.vonage.retries import RetryQueue
from local.vonage.rooms import expired_callback
from local.vonage.settings import VIDEO_KINDS, Kind, Settings, Target
from local.vonage.state import State
from local.vonage.video import callbacks as video
from roomkeeper.times import iso

MAX_BACKOFF = 30.0  # seconds
MAX_RESPONSE_LENGTH = 500
"""Characters of a receiver's response that the journal keeps."""


class Sender:
    """Posts callbacks to the configured targets. Safe to use from many threads.

    Every callback is added to the journal, also one without a target, which is not sent.
    """

    def __init__(self, state: State, connections: int = 64) -> None:
        self._state = state
        self._retries = RetryQueue(state.changed, self._attempt)
        self._session = requests.Session()
        self._session.trust_env = False  # use no proxy for the receiver
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=connections, pool_connections=8))

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def send(self, body: Mapping[str, Any], delay: float = 0.0) -> Delivery:
        """Post `body` after `delay` seconds; retry until a final response or the last attempt.

        With documented retries, callbacks of the Video API are posted once; `send_retries` posts
        them again.
        """
        self._state.stopping.wait(delay)
        delivery = Delivery(body)
        self._state.journal.add_delivery(delivery)
        kind = video.kind_of(body) or kind_of(str(body.get("event", "")))
        target, settings = self._target(body, kind), self._state.switches.settings
        if target is None:
            return delivery
        if kind in VIDEO_KINDS and settings.video_retries == "documented":
            self._retries.deliver(delivery, target, self._state.clock.now())
        else:
            self._deliver(delivery, target, settings)
        return delivery

    def send_retries(self) -> None:
        """Post the callbacks whose retry is due by the emulated time."""
        while not self._state.stopping.is_set() and self._retries.send_next(
            self._state.clock.now()
        ):
            pass

    def next_retry(self) -> datetime | None:
        """Return when the next retry is due, if there is one."""
        return self._retries.next_due()

    def drop_retries(self) -> None:
        """Discard all retries."""
        self._retries.reset()

    def send_all(self, bodies: Sequence[Mapping[str, Any]], senders: int) -> list[Delivery]:
        """Post all `bodies` from `senders` threads; return when all are delivered or given up."""
        with ThreadPoolExecutor(senders, thread_name_prefix="vonage-sender") as pool:
            return list(pool.map(self.send, bodies))

    def _target(self, body: Mapping[str, Any], kind: Kind) -> Target | None:
        target = self._state.switches.target(kind)
        url = self._state.callback_url_of(body, kind)
        if url is None:
            return target
        return msgspec.structs.replace(target, url=url) if target else Target(url=url)

    def _deliver(self, delivery: Delivery, target: Target, settings: Settings) -> None:
        payload = msgspec.json.encode(delivery.body)
        wait = settings.backoff
        for number in range(1, settings.attempts + 1):
            attempt = self._post(payload, target, settings.timeout, datetime.now(UTC))
            delivery.attempts.append(attempt)
            if attempt.is_final or number == settings.attempts or self._state.stopping.wait(wait):
                return
            wait = min(wait * 2, MAX_BACKOFF)

    def _attempt(self, delivery: Delivery, target: Target, at: datetime) -> Attempt:
        settings = self._state.switches.settings
        if settings.unsigned_first and not delivery.attempts:
            target = msgspec.structs.replace(target, signature_secret=None)
        return self._post(msgspec.json.encode(delivery.body), target, settings.timeout, at)

    def _post(self, payload: bytes, target: Target, timeout: float, time: datetime) -> Attempt:
        headers = {"Content-Type": "application/json", **target.headers}
        if target.signature_secret is not None:
            headers["Authorization"] = (
                f"Bearer {signature(payload, target, target.signature_secret)}"
            )
        at = iso(time)
        try:
            response = self._session.post(
                target.url, data=payload, headers=headers, timeout=timeout, allow_redirects=False
            )
        except (requests.RequestException, ValueError) as exc:
            return Attempt(at, error=type(exc).__name__)
        return Attempt(at, response.status_code, answer=response.text[:MAX_RESPONSE_LENGTH])


def kind_of(event: str) -> Kind:
    """Return the kind of the application's callback URL for an `event`."""
    if event.startswith("recording:"):
        return "recordings"
    return "rooms" if event.startswith("room:") else "sessions"


def signature(payload: bytes, sender: Target, secret: str) -> str:
    """Return the JWT of a signed webhook: HS256, with the hash of the payload's bytes.

    Source: Vonage's "Signed webhooks" guide.
    """
    claims = {
        "iat": int(time.time()),
        "jti": str(uuid.uuid4()),
        "iss": "Vonage",
        "api_key": sender.api_key,
        "application_id": sender.application_id,
        "payload_hash": hashlib.sha256(payload).hexdigest(),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        return jwt.encode(claims, secret, algorithm="HS256")


class Watch:
    """Sends the callbacks that are due by the clock: expired rooms, archives, retries."""

    MAX_WAIT = 60.0  # seconds

    def __init__(self, state: State, sender: Sender) -> None:
        self._state = state
        self._sender = sender
        self._thread = threading.Thread(target=self._watch, name="vonage-watch", daemon=True)
        self._sending = threading.Lock()

    def start(self) -> None:
        """Start to watch, until the state is stopped."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the watch has ended."""
        self._thread.join()

    def send_due(self) -> None:
        """Send all due callbacks; return once each was posted, also those of another thread."""
        with self._sending:
            self._sender.send_retries()
            for room in self._state.take_expired():
                self._sender.send(expired_callback(room))
            for body in self._state.video.take_callbacks():
                self._sender.send(body)

    def _watch(self) -> None:
        sources = (self._state.next_expiry, self._state.video.next_due, self._sender.next_retry)
        while not self._state.stopping.is_set():
            self.send_due()
            self._state.await_due(self.MAX_WAIT, sources)
