"""The limit of the intake's cold start: one signed UpdateItem with awscrt, and nothing else."""

import io
import os
from typing import Any
from urllib.parse import urlsplit

from awscrt import auth, http

BODY = b'{"TableName": "table", "Key": {"pk": {"S": "1"}}}'


def handler(_request: Any, _context: object) -> dict[str, int]:
    """Respond 204 once the item is written."""
    request = http.HttpRequest("POST", "/", _headers(), io.BytesIO(BODY))
    config = auth.AwsSigningConfig(
        credentials_provider=auth.AwsCredentialsProvider.new_environment(),
        region=os.environ["AWS_REGION"],
        service="dynamodb",
    )
    signed = auth.aws_sign_request(request, config).result()
    statuses: list[int] = []
    stream = _connection().request(signed, lambda status_code, **_: statuses.append(status_code))
    stream.activate()
    stream.completion_future.result()
    return {"statusCode": 204 if statuses == [200] else 502}


def _headers() -> Any:
    return http.HttpHeaders(
        [
            ("host", urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc),
            ("content-type", "application/x-amz-json-1.0"),
            ("content-length", str(len(BODY))),
            ("x-amz-target", "DynamoDB_20120810.UpdateItem"),
        ]
    )


_kept: list[Any] = []


def _connection() -> Any:
    if not _kept:
        url = urlsplit(os.environ["AWS_ENDPOINT_URL"])
        _kept.append(http.HttpClientConnection.new(url.hostname, url.port).result())
    return _kept[0]
