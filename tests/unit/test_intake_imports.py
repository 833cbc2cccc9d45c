"""The imports of a cold intake, measured in new interpreters.

import-linter checks only this project's own imports, at whatever line they are.
"""

import subprocess
import sys

import pytest

from local.testing.builders import SIGNATURE_SECRET, a_signature

IMPORT = """
import sys
import functions.callback_intake.app
print(*sorted(sys.modules))
"""

IMPORT_LOGGING = """
import logging, sys
print(*sorted(sys.modules))
"""
"""Python 3.14's logging imports dataclasses itself, for coloured tracebacks."""

NEVER = {
    "asyncio",
    "boto3",
    "botocore.client",
    "botocore.session",
    "cryptography",
    "dataclasses",
    "email",
    "http.client",
    "jwt",
    "requests",
    "roomkeeper.callbacks.meetings",
    "roomkeeper.callbacks.redaction",
    "roomkeeper.callbacks.video",
    "roomkeeper.callbacks.video_archives",
    "roomkeeper.domain.changes",
    "roomkeeper.domain.copies",
    "roomkeeper.domain.recordings",
    "roomkeeper.domain.rooms",
    "roomkeeper.jobs",
    "roomkeeper.store.copies",
    "roomkeeper.store.outbox",
    "roomkeeper.store.recordings",
    "roomkeeper.store.rooms",
    "roomkeeper.store.scans",
    "roomkeeper.store.store",
    "roomkeeper.store.stream",
    "roomkeeper.store.worklists",
    "roomkeeper.vonage",
    "socket",
    "ssl",
    "tenacity",
    "urllib.request",
    "urllib3",
    "zoneinfo",
}
"""Modules that would make each cold start slower. The parser of a product is loaded with its first
callback, and PyJWT with the first signature."""

CONNECT = """
import sys
from roomkeeper.aws import crt

class Client(crt.Client):
    def __init__(self, service, policy):
        print(service.name, not {"aws_lambda_powertools", "roomkeeper.store"} & set(sys.modules))

crt.Client = Client
import functions.callback_intake.app
"""

COLLECT = """
import gc
collected = []
gc.callbacks.append(lambda phase, info: collected.append(phase))
import functions.callback_intake.app
print(len(collected), gc.isenabled(), gc.get_freeze_count() > 10_000)
"""

NOWHERE = {
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
}
"""An AWS without any endpoint."""

IMPORT_PARSER = """
import importlib, sys
importlib.import_module(f"roomkeeper.callbacks.{sys.argv[1]}")
print(*sorted({"awscrt", "boto3", "cryptography", "jwt", "requests", "urllib3"} & set(sys.modules)))
"""

VERIFY = """
import sys
sys.modules["cryptography"] = None  # as if it were not installed
from datetime import timedelta
from roomkeeper.callbacks.authenticity import SignatureRules, require_authentic
secret, authorization = sys.argv[1:]
known = {"token": None, "authorization": authorization, "tokens": [], "signature_secrets": [secret]}
require_authentic(b"{}", **known, rules=SignatureRules(max_age=timedelta(hours=1)))
print("authentic")
"""


def output_of(program: str, *arguments: str, **variables: str) -> list[str]:
    """Run a program in a new interpreter; return the words that it prints."""
    known = {"PYTHONPATH": ":".join(sys.path), "POWERTOOLS_METRICS_NAMESPACE": "Roomkeeper"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=known | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_a_cold_intake_imports_nothing_that_it_may_not_need() -> None:
    imported = set(output_of(IMPORT))
    unavoidable = set(output_of(IMPORT_LOGGING))
    assert {"awscrt.auth", "awscrt.http", "awscrt.io", "msgspec"} <= imported
    assert not NEVER & (imported - unavoidable)


def test_the_connections_open_before_all_else_is_imported() -> None:
    in_lambda = output_of(CONNECT, AWS_LAMBDA_FUNCTION_NAME="intake")
    assert in_lambda == ["secretsmanager", "True", "dynamodb", "True"]


def test_the_imports_of_a_cold_start_are_not_searched_for_garbage() -> None:
    few, *in_lambda = output_of(COLLECT, AWS_LAMBDA_FUNCTION_NAME="intake", **NOWHERE)
    many, *elsewhere = output_of(COLLECT)
    assert int(few) < int(many)
    assert (in_lambda, elsewhere) == (["True", "True"], ["True", "False"])


def test_an_import_elsewhere_than_in_lambda_opens_no_connection() -> None:
    assert output_of(CONNECT) == []


@pytest.mark.parametrize("product", ["meetings", "video"])
def test_the_parsers_load_no_library_for_requests_or_signatures(product: str) -> None:
    assert output_of(IMPORT_PARSER, product) == []


def test_a_signature_is_verified_where_cryptography_is_not_installed() -> None:
    """The intake's layers do not have it."""
    assert output_of(VERIFY, SIGNATURE_SECRET, a_signature(b"{}")) == ["authentic"]
