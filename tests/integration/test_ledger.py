"""The ledger of the torture tests finds each callback in the table, and each one that is not."""

from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from roomkeeper.callbacks import video
from tests.support.env import NOW, TABLE, Env, json_bytes
from tests.support.ledger import StoredFacts, fact_of_callback, is_of_video


def stored_facts(env: Env) -> StoredFacts:
    stack = SimpleNamespace(outputs={"TableName": TABLE}, client=boto3.client)
    deployed: Any = SimpleNamespace(stack=stack)
    return StoredFacts(deployed)


@pytest.fixture
def meeting(env: Env) -> list[dict[str, Any]]:
    """The callbacks of a meeting."""
    bodies: list[dict[str, Any]] = env.vonage.hold_meeting()["callbacks"]
    return bodies


@pytest.fixture
def session(env: Env) -> list[dict[str, Any]]:
    """The callbacks of a session of the Video API."""
    played = env.vonage.video.play_session(pauses=1, lives=2, rotation=True)
    bodies: list[dict[str, Any]] = played["callbacks"]
    return bodies


def test_each_callback_of_a_session_reports_a_fact_of_its_own(
    session: list[dict[str, Any]], meeting: list[dict[str, Any]]
) -> None:
    assert all(map(is_of_video, session))
    assert not any(map(is_of_video, meeting))
    assert len(set(map(fact_of_callback, session))) == len(session)


def test_a_callback_of_either_product_is_found_once_it_is_in_the_table(
    env: Env, session: list[dict[str, Any]], meeting: list[dict[str, Any]]
) -> None:
    before = stored_facts(env)
    assert not [body for body in session + meeting if before.contain(body)]
    env.receive_all(meeting)
    for body in session:
        env.store.apply(video.parse(json_bytes(body)), NOW)
    after = stored_facts(env)
    assert [body for body in session + meeting if not after.contain(body)] == []


def test_an_archive_whose_size_is_not_in_the_table_is_not_found(
    env: Env, session: list[dict[str, Any]]
) -> None:
    [available] = [body for body in session if body.get("status") == "available"]
    env.store.apply(video.parse(json_bytes(available)), NOW)
    assert stored_facts(env).contain(available)
    assert not stored_facts(env).contain(available | {"size": 7})
