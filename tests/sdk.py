"""What stands in for AWS, and for the functions' own client of it, in tests."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import msgspec
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from botocore.exceptions import BotoCoreError, ClientError
from moto import mock_aws
from moto.core.models import botocore_stubber
from msgspec import Struct

from roomkeeper.aws import CallFailed
from roomkeeper.aws.client import UNREACHABLE
from roomkeeper.aws.connections import Answer, Connections

THROTTLED = CallFailed("Operation", "ThrottlingException", "Rate exceeded", 400)
FAILING = CallFailed("Operation", "InternalServerError", "We had a problem", 500)
CUT_OFF = CallFailed("Operation", UNREACHABLE, "cannot connect")
OUTAGES = [THROTTLED, FAILING, CUT_OFF]


@contextmanager
def moto() -> Iterator[None]:
    """Have moto answer, inside the process: the SDK's clients and those of our own."""
    lambdas = {"AWS_DEFAULT_REGION": "eu-west-1", "URL_SUFFIX": "amazonaws.com"}
    with (
        mock_aws(),
        mock.patch.dict(os.environ, lambdas),
        mock.patch.object(Connections, "post", _ask_moto),
    ):
        yield


def _ask_moto(connections: Connections, headers: Mapping[str, str], body: bytes) -> Answer:
    request = AWSPreparedRequest(
        "POST", f"https://{connections.host}/", HTTPHeaders(), body, stream_output=False
    )
    for name, value in headers.items():
        request.headers[name] = value
    answer = botocore_stubber("before-send", request)
    assert answer is not None, "moto is not switched on"
    return Answer(answer.status_code, answer.content)


class ThroughSdk:
    """An SDK's client in place of ours: the same methods, which fail in the same way."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation = getattr(self._client, name)

        def call(**arguments: Any) -> Any:
            try:
                return operation(**arguments)
            except ClientError as problem:
                told = problem.response["Error"]
                raise CallFailed(name, told["Code"], told.get("Message", "")) from problem
            except BotoCoreError as problem:
                raise CallFailed(name, UNREACHABLE, str(problem)) from problem

        return call


class Asked(Struct, frozen=True):
    """A call that was made: the operation's name, and what was answered."""

    operation: str
    answer: Any


def note_calls(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Return a list to which every call of our clients is added from now on."""
    made: list[Asked] = []
    post = Connections.post

    def noting(self: Connections, headers: Mapping[str, str], body: bytes) -> Answer:
        answer = post(self, headers, body)
        operation = headers["x-amz-target"].partition(".")[2]
        made.append(Asked(operation, msgspec.json.decode(answer.body or b"{}")))
        return answer

    monkeypatch.setattr(Connections, "post", noting)
    return made
