"""Least privilege, proven both ways: every permission is needed, and nothing else is allowed.

Each grant (an action on a resource) is taken from the deployed role while the function does its
work: that must fail. Then the calls of a list (`calls`) are made on the stack's resources with the
role's own credentials: each that the role does not name must be refused.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.testing.template import ROOT
from local.waiting import wait_until
from tests.support import functions
from tests.support.deployed import WITHIN, Deployed
from tests.support.figures import Figures
from tests.support.leaks import Past
from tests.support.roles import ROLES, Grant, Roles
from tests.torture import exercises
from tests.torture.calls import Ask, calls
from tests.torture.exercises import EXERCISES, SCHEDULES

pytestmark = pytest.mark.local_stack

NOT_TRIED = {
    # The local AWS writes the functions' logs itself, with no one's permission, and traces nothing.
    # Source: AWSLambdaBasicExecutionRole, AWSXRayDaemonWriteAccess in the AWS managed policies.
    "logs:CreateLogStream": "Lambda itself writes the logs, by the role",
    "logs:PutLogEvents": "Lambda itself writes the logs, by the role",
    "xray:PutTraceSegments": "Lambda itself sends the traces, by the role",
    "xray:PutTelemetryRecords": "Lambda itself sends the traces, by the role",
    # It reads the stream for the function, again with no one's permission.
    # Source: AWSLambdaDynamoDBExecutionRole, and "Process DynamoDB records with Lambda".
    "dynamodb:DescribeStream": "the event source mapping reads the stream, by the role",
    "dynamodb:GetRecords": "the event source mapping reads the stream, by the role",
    "dynamodb:GetShardIterator": "the event source mapping reads the stream, by the role",
    "dynamodb:ListStreams": "the event source mapping reads the stream, by the role",
}
"""Actions that only AWS itself uses, which asks for them; the local AWS does without."""

REMEMBER_SECRETS = {"CallbackIntakeRole", "ManagementApiRole"}
"""Whose functions read a secret every few minutes, not at every run."""


@pytest.fixture(scope="module")
def roles(deployed: Deployed) -> Roles:
    return Roles(deployed)


@pytest.fixture(scope="module", autouse=True)
def _prepared(deployed: Deployed, past: Past) -> Iterator[None]:
    """An empty Vonage, and an extender that asks when a room was last used."""
    past.reset_vonage(deployed)
    extender = deployed.stack.outputs["RoomExpiryExtenderName"]
    with functions.configured(deployed, extender, ONLY_ROOMS_USED_WITHIN_DAYS="14"):
        yield
    queue = deployed.stack.outputs["DeadLetterQueueUrl"]
    deployed.stack.client("sqs").purge_queue(QueueUrl=queue)


def works(deployed: Deployed, role: str) -> bool:
    """Return whether the function of that role can do all its work."""
    try:
        EXERCISES[role](deployed)
    except AssertionError:
        return False
    return True


def started_anew(deployed: Deployed, role: str) -> None:
    """Have the role's function forget the secret that it knows."""
    name = deployed.id_of(role.removesuffix("Role"))
    with functions.configured(deployed, name, STARTED_ANEW="true"):
        pass


def is_needed(deployed: Deployed, roles: Roles, grant: Grant) -> bool:
    """Return whether the function's work fails when `grant` is taken away."""
    with roles.without(grant):
        if grant.role in REMEMBER_SECRETS and grant.action.startswith("secretsmanager:"):
            started_anew(deployed, grant.role)
        return not works(deployed, grant.role)


def test_every_role_is_tried() -> None:
    assert {*EXERCISES, *SCHEDULES} == set(ROLES)


@pytest.mark.parametrize("role", EXERCISES)
def test_a_function_needs_all_that_its_role_allows(
    deployed: Deployed, roles: Roles, role: str, figures: Figures
) -> None:
    tried = [grant for grant in roles.grants(role) if grant.action not in NOT_TRIED]
    assert works(deployed, role)

    unneeded = [grant for grant in tried if not is_needed(deployed, roles, grant)]

    figures.add(
        "permissions",
        statements=len({grant.statement for grant in tried}),
        unneeded=len({grant.statement for grant in unneeded}),
    )
    assert unneeded == []
    assert works(deployed, role)


def test_a_schedule_needs_its_role(deployed: Deployed, roles: Roles, figures: Figures) -> None:
    """That it starts its job with its role is shown by the end-to-end tests of the jobs."""
    grants = [grant for role in SCHEDULES for grant in roles.grants(role)]
    before = exercises.refused_starts()
    with roles.without(*grants):
        exercises.start_by_schedule(deployed)
        assert wait_until(
            lambda: exercises.refused_starts() == before + len(SCHEDULES), WITHIN, pause=0.5
        )
    figures.add("permissions", statements=len(grants), unneeded=0)


def test_what_is_not_tried_is_what_aws_itself_uses(roles: Roles) -> None:
    allowed = {grant.action for role in ROLES for grant in roles.grants(role)}
    assert set(NOT_TRIED) <= allowed


# --- what is refused ------------------------------------------------------------------------------

DENIALS = {"AccessDenied", "AccessDeniedException", "AuthorizationError"}
SDK_SERVICE = {"dynamodb:DescribeStream": "dynamodbstreams"}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_refused_all_that_it_does_not_name(
    deployed: Deployed, roles: Roles, role: str
) -> None:
    granted = {(grant.action, grant.resource) for grant in roles.grants(role)}
    session: Any = roles.session(role)
    endpoint = deployed.stack.base_url
    with ExitStack() as exits:
        clients = dict[str, Any]()
        passed = []
        for (action, resource), ask in calls(deployed).items():
            if (action, resource) in granted:
                continue
            service = SDK_SERVICE.get(action, action.partition(":")[0])
            if service not in clients:
                clients[service] = session.client(service, endpoint_url=endpoint)
                exits.callback(clients[service].close)
            if not is_refused(ask, clients[service]):
                passed.append((action, resource))
    assert passed == []


def test_the_security_page_says_how_many_calls_are_tried(deployed: Deployed) -> None:
    assert f"makes {len(calls(deployed))} calls" in " ".join(
        (ROOT / "SECURITY.md").read_text().split()
    )


def is_refused(ask: Ask, client: Any) -> bool:
    """Return whether the call is denied; any other end means that it was let through."""
    try:
        ask(client)
    except ClientError as problem:
        return problem.response["Error"]["Code"] in DENIALS
    return False
