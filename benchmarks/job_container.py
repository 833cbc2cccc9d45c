"""One run of a job in a process of its own, as a script: `job_container.py PATHS COUNT [instant]`.

It runs the built function on COUNT items, and writes seconds and peak bytes to stderr as JSON. With
`instant` neither DynamoDB nor Vonage is spoken to over a socket: what is measured then is memory,
on more items than sockets could serve in good time.
"""

import io
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from container import Context, peak  # type: ignore[import-not-found]  # its neighbour, as a script's folder is where imports begin


class Body(io.BytesIO):
    """A response's body, as botocore reads it."""

    def stream(self) -> Iterator[bytes]:
        """Yield all of it."""
        yield self.read()


def answer_at_once() -> None:
    """Have DynamoDB's and Vonage's answers made up in this process."""
    import boto3  # noqa: PLC0415 - after the paths
    from botocore.awsrequest import AWSResponse  # noqa: PLC0415
    from botocore.compat import HTTPHeaders  # noqa: PLC0415

    from benchmarks.books import answer_of_dynamodb, rooms_page  # noqa: PLC0415
    from roomkeeper.vonage import transport  # noqa: PLC0415
    from roomkeeper.vonage.calls import Call  # noqa: PLC0415

    def respond(request: Any, **_: Any) -> Any:
        service, _, operation = request.headers["X-Amz-Target"].decode().partition(".")
        if service == "secretsmanager":
            text = '{"api_key": "key", "api_secret": "secret"}'
            told: dict[str, Any] = {"SecretString": text, "CreatedDate": 0}
        else:
            told = answer_of_dynamodb(operation, json.loads(request.body))
        headers = HTTPHeaders()
        headers["x-amzn-requestid"] = "1"
        return AWSResponse(request.url, 200, headers, Body(json.dumps(told).encode()))

    def perform(_transport: transport.Transport, call: Call, _budget: float) -> bytes:
        if call.method == "DELETE":
            return b""
        if call.method == "PATCH":
            room = rooms_page(0, 1)["_embedded"][0] | {"id": unquote(call.path.split("/")[-1])}
            return json.dumps(room).encode()
        return json.dumps(rooms_page(int((call.query or {}).get("start_id", 0)), 20)).encode()

    boto3.DEFAULT_SESSION = boto3.Session()
    boto3.DEFAULT_SESSION.events.register("before-send", respond)
    patched: Any = transport.Transport
    patched.perform = perform


def main() -> None:
    """Run the job; tell how long it took and what it needed."""
    sys.path[:1] = sys.argv[1].split(os.pathsep)
    count = int(sys.argv[2])
    if sys.argv[3:] == ["instant"]:
        answer_at_once()
    from app import handler  # type: ignore[import-not-found]  # noqa: PLC0415 - it is measured

    began = time.perf_counter()
    report = handler({"limit": count}, Context())
    seconds = time.perf_counter() - began
    done = report.get("deleted", 0) + report.get("extended", 0)
    if done != count:
        raise SystemExit(f"The job did not do {count} items: {report}")
    sys.stderr.write(json.dumps({"seconds": seconds, "rss": peak()}))


if __name__ == "__main__":
    main()
