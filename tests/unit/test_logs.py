"""The layer's loggers write JSON like the functions, in a process set up like Lambda's."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.testing.builders import AContext
from local.testing.template import ROOT, environment

# Two calls of a function with a cached secret that cannot be read again.
CALL_TWICE = """
import logging, sys
logging.getLogger().addHandler(logging.StreamHandler(sys.stdout))  # as Lambda's runtime does
from functions.callback_intake import app
from roomkeeper.handlers import callback_intake
from roomkeeper.aws.secrets import CallbackCredentials, CallbackSecret
from roomkeeper.aws import AwsError
from local.testing.builders import AContext, a_request

class FailingSecrets:
    def get_secret_value(self, **_):
        raise AwsError("ThrottlingException", "slow down")

from datetime import datetime, timedelta, UTC
secret = CallbackSecret(FailingSecrets(), "arn:secret", timedelta())
secret._known = CallbackCredentials(("t",), ())
secret._fresh_until = datetime.now(UTC) - timedelta(seconds=1)
callback_intake._secret = lambda product: secret
for _ in range(2):
    app.handler(a_request(b"{}", token="wrong"), AContext())
"""


NOWHERE = {
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "a-key",
    "AWS_SECRET_ACCESS_KEY": "a-secret",
    "URL_SUFFIX": "amazonaws.com",
}
"""An AWS without any endpoint: these tests do not reach the table."""


def lines_of(**variables: str) -> list[dict[str, Any]]:
    """Return the lines that the function writes; each must be JSON."""
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers/roomkeeper")])}
    done = subprocess.run(
        [sys.executable, "-B", "-c", CALL_TWICE],
        env=environment("CallbackIntake") | NOWHERE | paths | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def warnings_in(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if "Using credentials read" in str(line.get("message"))]


def test_a_layers_warning_is_one_line_of_json_with_the_request_id() -> None:
    lines = lines_of()

    [warning] = warnings_in(lines)
    refusals = [line for line in lines if line.get("message") == "callback refused"]
    assert len(refusals) == 2
    assert warning["level"] == "WARNING"
    assert warning["function_request_id"] == AContext().aws_request_id
    assert warning["service"] == refusals[0]["service"] == "callback_intake"
    assert warning["name"] == "roomkeeper.aws.secrets"


def test_a_lines_time_is_in_utc_whatever_the_machines_time_zone() -> None:
    times = [line["timestamp"] for line in lines_of(TZ="Asia/Tokyo") if "message" in line]
    assert times
    for each in times:
        assert datetime.fromisoformat(each).utcoffset() == timedelta(0)
        assert abs(datetime.fromisoformat(each) - datetime.now(UTC)) < timedelta(hours=1)


@pytest.mark.parametrize("level", ["ERROR", "CRITICAL"])
def test_the_layers_loggers_use_the_configured_level(level: str) -> None:
    assert warnings_in(lines_of(POWERTOOLS_LOG_LEVEL=level)) == []
