"""Runs a job once in its own process, as a script: `job_container.py PATHS COUNT [instant]`.

It runs the built function on COUNT items and writes seconds and peak memory to stderr as JSON. With
`instant`, DynamoDB and Vonage are mocked in the process, without sockets, to measure memory on a
large number of items.
"""

import io
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from container import Context, peak  # type: ignore[import-not-found]  # a script's folder is first in sys.path


class Body(io.BytesIO):
    """A response's body, as botocore reads it."""

    def stream(self) -> Iterator[bytes]:
        """Yield the whole body."""
        yield self.read()


def mock_endpoints() -> None:
    """Generate DynamoDB's and Vonage's responses in this process."""
    import boto3  # noqa: PLC0415 - needs sys.path
    from botocore.awsrequest import AWSResponse  # noqa: PLC0415
    from botocore.compat import HTTPHeaders  # noqa: PLC0415

    from benchmarks.endless_source import dynamodb_response, rooms_page  # noqa: PLC0415
    from roomkeeper.vonage import transport  # noqa: PLC0415
    from roomkeeper.vonage.calls import Call  # noqa: PLC0415

    def respond(request: Any, **_: Any) -> Any:
        service, _, operation = request.headers["X-Amz-Target"].decode().partition(".")
        if service == "secretsmanager":
            text = '{"api_key": "key", "api_secret": "secret"}'
            content: dict[str, Any] = {"SecretString": text, "CreatedDate": 0}
        else:
            content = dynamodb_response(operation, json.loads(request.body))
        headers = HTTPHeaders()
        headers["x-amzn-requestid"] = "1"
        return AWSResponse(request.url, 200, headers, Body(json.dumps(content).encode()))

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
    """Run the job and write its duration and peak memory."""
    sys.path[:1] = sys.argv[1].split(os.pathsep)
    count = int(sys.argv[2])
    if sys.argv[3:] == ["instant"]:
        mock_endpoints()
    from app import handler  # type: ignore[import-not-found]  # noqa: PLC0415 - it is measured

    start = time.perf_counter()
    report = handler({"limit": count}, Context())
    seconds = time.perf_counter() - start
    done = report.get("deleted", 0) + report.get("extended", 0)
    if done != count:
        raise SystemExit(f"The job did not process {count} items: {report}")
    sys.stderr.write(json.dumps({"seconds": seconds, "rss": peak()}))


if __name__ == "__main__":
    main()
