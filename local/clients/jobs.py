"""Starts jobs of a deployed stack over HTTP, with signed requests (SigV4)."""

from typing import Any

import requests

from local.clients.management import TIMEOUT, ManagementApi
from operations.stack import Stack


def start(stack: Stack, job: str, **options: Any) -> dict[str, Any]:
    """Run a job, such as `cleanup`, with these options; return its report.

    Raises:
        requests.HTTPError: the job did not run; `response` says why.
    """
    response = post(stack, job, options)
    response.raise_for_status()
    report: dict[str, Any] = response.json()
    return report


def post(stack: Stack, job: str, options: Any, *, sign: bool = True) -> requests.Response:
    """Return the response to a request for a job, signed or not, with any options."""
    path = f"/jobs/{job}"
    if sign:
        return ManagementApi(stack).call("POST", path, json=options)
    url = f"{stack.base_url}{path}"
    return requests.post(url, json=options, headers=dict(stack.headers), timeout=TIMEOUT)
