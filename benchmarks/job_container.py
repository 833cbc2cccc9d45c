"""Runs a job once in its own process, as a script: `job_container.py PATHS COUNT DONE [WORKLIST]`.

It runs the built function on COUNT items, which its report counts as DONE, and writes seconds, CPU
seconds and peak memory to stderr as JSON. With WORKLIST, AWS and Vonage are mocked in the process,
without sockets, to measure memory on a large number of items. All items are due on WORKLIST.
"""

import json
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from container import Context, peak  # type: ignore[import-not-found]  # a script's folder is first in sys.path


def mock_endpoints(worklist: str) -> None:
    """Generate AWS's and Vonage's responses in this process. A queue takes any number of items."""
    import boto3  # noqa: PLC0415 - needs sys.path
    from botocore.awsrequest import AWSResponse  # noqa: PLC0415
    from botocore.compat import HTTPHeaders  # noqa: PLC0415

    from benchmarks.endless_source import dynamodb_response  # noqa: PLC0415
    from benchmarks.endpoint import SECRET, vonage_response  # noqa: PLC0415
    from roomkeeper.aws import copy_queue  # noqa: PLC0415
    from roomkeeper.vonage import transport  # noqa: PLC0415
    from roomkeeper.vonage.calls import Call  # noqa: PLC0415

    def respond(params: Any, model: Any, **_: Any) -> Any:
        content: dict[str, Any] = {}
        if model.name == "GetSecretValue":
            content = {"SecretString": json.dumps(SECRET), "CreatedDate": datetime.now(UTC)}
        elif model.name == "GetQueueAttributes":
            content = {"Attributes": {"ApproximateNumberOfMessages": "0"}}
        else:
            content = dynamodb_response(model.name, json.loads(params["body"]), worklist)
        content["ResponseMetadata"] = {"RequestId": "1", "HTTPStatusCode": 200}
        return AWSResponse("http://aws", 200, HTTPHeaders(), None), content

    def perform(self: transport.Transport, call: Call, _budget: float) -> bytes:
        path = f"{self.base_url.removeprefix('http://vonage')}{call.path}?{urlencode(call.query)}"
        return vonage_response(call.method, path, json.dumps(call.body).encode())[1]

    copy_queue.MAX_WAITING = sys.maxsize
    boto3.DEFAULT_SESSION = boto3.Session()
    # Source: "before-call" in botocore's list of events: a handler's response replaces the call.
    boto3.DEFAULT_SESSION.events.register("before-call", respond)
    patched: Any = transport.Transport
    patched.perform = perform


def main() -> None:
    """Run the job and write its duration and peak memory."""
    sys.path[:1] = sys.argv[1].split(os.pathsep)
    count, done_name, worklist = int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    if worklist:
        mock_endpoints(*worklist)
    from app import handler  # type: ignore[import-not-found]  # noqa: PLC0415 - it is measured

    start, start_cpu = time.perf_counter(), time.process_time()
    report = handler({"limit": count}, Context())
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    if report.get(done_name) != count:
        raise SystemExit(f"The job did not process {count} items: {report}")
    sys.stderr.write(json.dumps({"seconds": seconds, "cpu": cpu, "rss": peak()}))


if __name__ == "__main__":
    main()
