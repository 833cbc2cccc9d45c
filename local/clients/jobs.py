"""Jobs of a deployed stack, started on demand: over HTTP, the request signed (SigV4)."""

from typing import Any

import requests

from local.clients.management import TIMEOUT, ManagementApi
from operations.stack import Stack


def start(stack: Stack, job: str, **options: Any) -> dict[str, Any]:
    """Run a job, such as `recording-cleanup`, with these options; return its report.

    Raises:
        requests.HTTPError: it was refused; `response` says why.
    """
    answer = post(stack, job, options)
    answer.raise_for_status()
    report: dict[str, Any] = answer.json()
    return report


def post(stack: Stack, job: str, options: Any, *, sign: bool = True) -> requests.Response:
    """Return the answer to a request for a job, which may be left unsigned or make no sense."""
    path = f"/jobs/{job}"
    if sign:
        return ManagementApi(stack).call("POST", path, json=options)
    url = f"{stack.base_url}{path}"
    return requests.post(url, json=options, headers=dict(stack.headers), timeout=TIMEOUT)
