"""Fixtures of the end-to-end tests."""

import secrets
from collections.abc import Iterator

import pytest

from local import stack as local_stack
from operations.subscriber import Subscriber
from tests.support.company import prepare
from tests.support.deployed import Deployed
from tests.support.suites import LOCAL


@pytest.fixture(scope="session")
def company() -> Iterator[Deployed]:
    """A stack that copies into the bucket of a company, encrypted with the company's key."""
    folder = LOCAL.with_name(f"{LOCAL.name}-company")
    parameters = {"CopyRecordings": "true"}
    with local_stack.running(folder, print, parameters=parameters, prepare=prepare) as local:
        subscriber = Subscriber(local.stack, f"test-{secrets.token_hex(4)}")
        try:
            yield Deployed(local.stack, local.operated, local.vonage, subscriber, folder)
        finally:
            subscriber.close()
