"""Calls to the emulated Video API, with the tokens that released SDKs send."""

import time
import uuid
from typing import Any

import jwt
import requests

from local.vonage import VonageControl
from local.vonage.video.projects import API_KEY, APPLICATION_ID


def unified_token(emulator: VonageControl, **changes: Any) -> str:
    """Return an application's token; a change to None removes the claim."""
    now = int(time.time())
    claims = {"application_id": APPLICATION_ID, "iat": now, "exp": now + 900, "jti": "a"} | changes
    key = emulator.video.credentials()["private_key"]
    return jwt.encode(_given(claims), key, algorithm="RS256")


def classic_token(emulator: VonageControl, **changes: Any) -> str:
    """Return a project's token; a change to None removes the claim."""
    now = int(time.time())
    claims = {"iss": API_KEY, "ist": "project", "iat": now, "exp": now + 180} | changes
    secret = emulator.video.credentials()["api_secret"]
    return jwt.encode(_given(claims), secret, algorithm="HS256")


def unified(emulator: VonageControl) -> "VideoCaller":
    """Return a caller with the credentials of the unified application."""
    header = {"Authorization": f"Bearer {unified_token(emulator, jti=str(uuid.uuid4()))}"}
    return VideoCaller(emulator, APPLICATION_ID, header)


def classic(emulator: VonageControl) -> "VideoCaller":
    """Return a caller with the credentials of the classic project."""
    return VideoCaller(emulator, API_KEY, {"X-OPENTOK-AUTH": classic_token(emulator)})


class VideoCaller:
    """Calls the archive operations of one project."""

    def __init__(self, emulator: VonageControl, project: str, headers: dict[str, str]) -> None:
        self.url = f"{emulator.base}/v2/project/{project}/archive"
        self._headers = headers

    def __call__(self, method: str, path: str = "", **options: Any) -> requests.Response:
        url = f"{self.url}{path}"
        return requests.request(method, url, headers=self._headers, timeout=30, **options)

    def archive(self, archive_id: str) -> dict[str, Any]:
        """Return the archive."""
        found: dict[str, Any] = self("GET", f"/{archive_id}").json()
        return found

    def listed(self, **query: Any) -> dict[str, Any]:
        """Return a page of archives."""
        page: dict[str, Any] = self("GET", params=query).json()
        return page


def _given(claims: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if value is not None}
