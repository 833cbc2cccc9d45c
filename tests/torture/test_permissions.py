"""Least privilege in both directions: each permission is needed, and nothing else is allowed.

For each grant (an action on a resource) of a deployed role, the role's scenario must make a call
that the local IAM allows only because of it. Without one of them the scenario must fail. Then each
call of `calls` is made with the role's credentials: it must be denied unless the role grants it.
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
from tests.support.leaks import Past
from tests.support.measurements import Measurements
from tests.support.roles import ROLES, Grant, Roles
from tests.torture import permission_scenarios
from tests.torture.calls import Ask, calls
from tests.torture.permission_scenarios import SCENARIOS, SCHEDULE_ROLES, SCHEDULES

pytestmark = pytest.mark.local_stack

NOT_TRIED = {
    # The local AWS writes the functions' logs without checking a permission, and sends no traces.
    # Source: AWSLambdaBasicExecutionRole, AWSXRayDaemonWriteAccess in the AWS managed policies.
    "logs:CreateLogStream": "Lambda itself writes the logs, by the role",
    "logs:PutLogEvents": "Lambda itself writes the logs, by the role",
    # It also reads the stream without checking a permission.
    # Source: AWSLambdaDynamoDBExecutionRole, and "Process DynamoDB records with Lambda".
    "dynamodb:DescribeStream": "the event source mapping reads the stream, by the role",
    "dynamodb:GetRecords": "the event source mapping reads the stream, by the role",
    "dynamodb:GetShardIterator": "the event source mapping reads the stream, by the role",
    "dynamodb:ListStreams": "the event source mapping reads the stream, by the role",
    # The same holds for a queue. Source: "Using Lambda with Amazon SQS".
    "sqs:DeleteMessage": "the event source mapping polls the queue, by the role",
    "sqs:ReceiveMessage": "the event source mapping polls the queue, by the role",
    # It responds 404 for a missing object, also to callers who may not list the bucket.
    "s3:ListBucketVersions": "S3 responds 403, and the versions are listed to see why",
}
"""Actions that the local AWS does not check, or whose reason it lacks."""

CACHE_SECRETS = {"CallbackIntakeRole", "ManagementApiRole"}
"""The roles of functions that cache a secret between invocations."""


@pytest.fixture(scope="module")
def deployed(copying: Deployed) -> Deployed:
    """The stack that copies recordings, which has all roles."""
    return copying


@pytest.fixture(scope="module")
def roles(deployed: Deployed) -> Roles:
    return Roles(deployed)


@pytest.fixture(scope="module", autouse=True)
def _prepared(deployed: Deployed, past: Past) -> Iterator[None]:
    """Provide an empty Vonage and an extender that selects rooms by their last use."""
    past.reset_vonage(deployed)
    extender = deployed.stack.outputs["RoomExpiryExtenderName"]
    with functions.configured(deployed, extender, ONLY_ROOMS_USED_WITHIN_DAYS="14"):
        yield
    queue = deployed.stack.outputs["DeadLetterQueueUrl"]
    deployed.stack.client("sqs").purge_queue(QueueUrl=queue)


def restart(deployed: Deployed, role: str) -> None:
    """Replace the processes of the role's function, which drops their cached secret."""
    name = deployed.id_of(role.removesuffix("Role"))
    with functions.configured(deployed, name, RESTARTED="true"):
        pass


def is_tried(grant: Grant) -> bool:
    """Return whether the local AWS checks a permission."""
    return grant.action not in NOT_TRIED


def test_every_role_is_tried() -> None:
    assert {*SCENARIOS, *SCHEDULE_ROLES} == set(ROLES)


@pytest.mark.parametrize("role", SCENARIOS)
def test_a_function_needs_every_permission_of_its_role(
    deployed: Deployed, roles: Roles, role: str, measurements: Measurements
) -> None:
    tried = [grant for grant in roles.grants(role) if is_tried(grant)]
    if role in CACHE_SECRETS:
        restart(deployed, role)

    with roles.needed(role) as needed:
        SCENARIOS[role](deployed)

    unneeded = [grant for grant in tried if (grant.action, grant.resource) not in needed]
    measurements.add(
        "permissions",
        statements=len({grant.statement for grant in tried}),
        unneeded=len({grant.statement for grant in unneeded}),
    )
    assert [(each.action, each.resource) for each in unneeded] == []


@pytest.mark.parametrize("role", SCENARIOS)
def test_a_function_fails_if_a_call_is_denied(deployed: Deployed, roles: Roles, role: str) -> None:
    tried = filter(is_tried, roles.grants(role))
    first = next(each for each in tried if each.action.startswith("dynamodb:"))
    with roles.without(first), pytest.raises(AssertionError):
        SCENARIOS[role](deployed)


def test_schedules_need_their_roles(
    deployed: Deployed, roles: Roles, measurements: Measurements
) -> None:
    """The end-to-end tests of the jobs show that a schedule starts its job with its role."""
    grants = [grant for role in SCHEDULE_ROLES for grant in roles.grants(role)]
    before = permission_scenarios.refused_starts(deployed)
    with roles.without(*grants):
        permission_scenarios.start_by_schedule(deployed)
        assert wait_until(
            lambda: permission_scenarios.refused_starts(deployed) == before + len(SCHEDULES),
            WITHIN,
            interval=0.5,
        )
    measurements.add("permissions", statements=len(grants), unneeded=0)


def test_roles_grant_all_untried_actions(roles: Roles) -> None:
    assert set(NOT_TRIED) <= {grant.action for role in ROLES for grant in roles.grants(role)}


# --- denied calls ---------------------------------------------------------------------------------

DENIALS = {"AccessDenied", "AccessDeniedException", "AuthorizationError"}
SDK_SERVICE = {"dynamodb:DescribeStream": "dynamodbstreams"}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_denied_every_call_that_it_does_not_grant(
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
    """Return whether the call is denied. Any other error means that it was allowed."""
    try:
        ask(client)
    except ClientError as exc:
        return exc.response["Error"]["Code"] in DENIALS
    return False
