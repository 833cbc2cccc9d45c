"""Jobs of a deployed stack, started on demand: over HTTP, the request signed (SigV4).

Source: "Signature Version 4 signing" in the IAM guide; the service is `execute-api`.
"""

from typing import Any

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from operations.stack import Stack

TIMEOUT = 60.0  # seconds; API Gateway answers after 30 in any case


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
    url = f"{stack.base_url}/jobs/{job}"
    headers = {"Content-Type": "application/json", **stack.headers}
    prepared = requests.Request("POST", url, headers, json=options).prepare()
    if sign:
        signed = AWSRequest("POST", url, headers, prepared.body)
        SigV4Auth(stack.credentials, "execute-api", stack.region).add_auth(signed)
        prepared.headers.update(signed.headers.items())
    with requests.Session() as session:
        return session.send(prepared, timeout=TIMEOUT)
