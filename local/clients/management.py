"""A client of the management API that signs every request (SigV4)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from operations.stack import Stack

TIMEOUT = 60.0  # seconds; API Gateway responds within 30


class ManagementApi:
    """A stack's management API, called with the stack's credentials or the given ones.

    Source: "Signature Version 4 signing" in the IAM guide; the service is `execute-api`.
    """

    def __init__(self, stack: Stack, credentials: Credentials | None = None) -> None:
        self._stack = stack
        self._credentials = credentials or stack.credentials
        self._session = requests.Session()

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
    ) -> requests.Response:
        """Send a signed request and return the response. `path` must be quoted already."""
        url = f"{self._stack.base_url}{path}" + (f"?{urlencode(query)}" if query else "")
        given = {"Content-Type": "application/json", **(headers or {}), **self._stack.headers}
        prepared = requests.Request(method, url, given, data=body, json=json).prepare()
        signed = AWSRequest(method, prepared.url, given, prepared.body)
        SigV4Auth(self._credentials, "execute-api", self._stack.region).add_auth(signed)
        prepared.headers.update(signed.headers.items())
        return self._session.send(prepared, timeout=TIMEOUT)
