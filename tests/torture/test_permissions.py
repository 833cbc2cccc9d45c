"""Least privilege, proven both ways: every permission is needed, and nothing else is allowed.

Each grant (an action on a resource) is taken from the deployed role while the function does its
work: that must fail. Then every other call that there is to make on the stack's resources is made
with the role's own credentials: it must be refused.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.waiting import eventually
from tests import functions
from tests.deployed import WITHIN, Deployed
from tests.figures import Figures
from tests.roles import ROLES, Grant, Roles
from tests.torture import exercises
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
def _prepared(deployed: Deployed) -> Iterator[None]:
    """An empty Vonage, and an extender that asks when a room was last used."""
    deployed.vonage.reset()
    deployed.vonage.callbacks_to(deployed.stack.callback_url(), headers=deployed.stack.headers)
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
        if grant.role in REMEMBER_SECRETS and grant.action == "secretsmanager:GetSecretValue":
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


def test_a_schedule_needs_its_role(
    deployed: Deployed, roles: Roles, full: bool, figures: Figures
) -> None:
    grants = [grant for role in SCHEDULES for grant in roles.grants(role)]
    before = exercises.refused_starts()
    with roles.without(*grants):
        exercises.start_by_schedule(deployed)
        assert eventually(
            lambda: exercises.refused_starts() == before + len(SCHEDULES), WITHIN, pause=0.5
        )
    figures.add("permissions", statements=len(grants), unneeded=0)
    if full:  # as the end-to-end tests of the jobs show, too
        started = exercises.starts(deployed)
        exercises.start_by_schedule(deployed)
        assert eventually(lambda: exercises.starts(deployed) == started + 3, WITHIN, pause=0.5)


def test_what_is_not_tried_is_what_aws_itself_uses(roles: Roles) -> None:
    allowed = {grant.action for role in ROLES for grant in roles.grants(role)}
    assert set(NOT_TRIED) <= allowed


# --- what is refused ------------------------------------------------------------------------------

Ask = Callable[[Any], object]
"""Makes a call with the SDK session's client of the call's service."""


def calls(deployed: Deployed) -> dict[tuple[str, str], Ask]:
    """Return every call worth making on the stack's resources, by action and resource."""
    return _on_the_table(deployed) | _on_the_rest(deployed)


def _on_the_table(deployed: Deployed) -> dict[tuple[str, str], Ask]:
    name = deployed.stack.outputs["TableName"]
    table = deployed.stack.client("dynamodb").describe_table(TableName=name)["Table"]
    arn, stream = table["TableArn"], table["LatestStreamArn"]
    key = {"pk": {"S": "RECORDING#none"}}
    one: dict[str, Any] = {"TableName": name, "Key": key}
    found: dict[tuple[str, str], Ask] = {
        ("dynamodb:GetItem", arn): lambda db: db.get_item(**one),
        ("dynamodb:UpdateItem", arn): lambda db: db.update_item(
            **one,
            UpdateExpression="REMOVE nothing",
            ConditionExpression="attribute_exists(pk)",
        ),
        ("dynamodb:PutItem", arn): lambda db: db.put_item(
            TableName=name, Item=key, ConditionExpression="attribute_exists(pk)"
        ),
        ("dynamodb:DeleteItem", arn): lambda db: db.delete_item(**one),
        ("dynamodb:BatchGetItem", arn): lambda db: db.batch_get_item(
            RequestItems={name: {"Keys": [key]}}
        ),
        ("dynamodb:BatchWriteItem", arn): lambda db: db.batch_write_item(
            RequestItems={name: [{"DeleteRequest": {"Key": key}}]}
        ),
        ("dynamodb:Query", arn): lambda db: db.query(
            TableName=name,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": key["pk"]},
        ),
        ("dynamodb:Scan", arn): lambda db: db.scan(TableName=name, Limit=1),
        ("dynamodb:DescribeTable", arn): lambda db: db.describe_table(TableName=name),
        ("dynamodb:UpdateTable", arn): lambda db: db.update_table(
            TableName=name, DeletionProtectionEnabled=True
        ),
        ("dynamodb:DescribeStream", stream): lambda db: db.describe_stream(StreamArn=stream),
    }
    for index in table["GlobalSecondaryIndexes"]:
        found["dynamodb:Query", f"{arn}/index/{index['IndexName']}"] = _query_of(name, index)
    return found


def _query_of(table: str, index: dict[str, Any]) -> Ask:
    [hash_key] = [key for key in index["KeySchema"] if key["KeyType"] == "HASH"]
    return lambda db: db.query(
        TableName=table,
        IndexName=index["IndexName"],
        KeyConditionExpression="#key = :none",
        ExpressionAttributeNames={"#key": hash_key["AttributeName"]},
        ExpressionAttributeValues={":none": {"S": "none"}},
    )


def _on_the_rest(deployed: Deployed) -> dict[tuple[str, str], Ask]:
    stack, found = deployed.stack, dict[tuple[str, str], Ask]()
    for secret in (stack.outputs["CallbackSecretArn"], stack.outputs["VonageSecretArn"]):
        found |= _on_secret(secret)
    for function in ("CallbackIntake", "RecordingCleanup", "RecordingReconciler", "ManagementApi"):
        found |= _on_function(deployed, deployed.id_of(function))
    found |= _on_function(deployed, stack.outputs["RoomExpiryExtenderName"])
    for group in ("CallbackIntakeLogs", "ManagementApiLogs", "HttpApiAccessLogs"):
        found |= _on_logs(deployed, deployed.id_of(group))
    return found | _on_bus(deployed) | _on_dead_letters(deployed) | _on_the_account(deployed)


def _on_secret(arn: str) -> dict[tuple[str, str], Ask]:
    return {
        ("secretsmanager:GetSecretValue", arn): lambda sm: sm.get_secret_value(SecretId=arn),
        ("secretsmanager:PutSecretValue", arn): lambda sm: sm.put_secret_value(
            SecretId=arn, SecretString="{}"
        ),
        ("secretsmanager:DescribeSecret", arn): lambda sm: sm.describe_secret(SecretId=arn),
    }


def _on_function(deployed: Deployed, name: str) -> dict[tuple[str, str], Ask]:
    found = deployed.stack.client("lambda").get_function_configuration(FunctionName=name)
    arn = found["FunctionArn"]
    return {
        ("lambda:InvokeFunction", arn): lambda lam: lam.invoke(
            FunctionName=name, InvocationType="DryRun"
        ),
        ("lambda:GetFunctionConfiguration", arn): lambda lam: lam.get_function_configuration(
            FunctionName=name
        ),
        ("lambda:UpdateFunctionConfiguration", arn): lambda lam: lam.update_function_configuration(
            FunctionName=name, Description="changed"
        ),
    }


def _on_logs(deployed: Deployed, group: str) -> dict[tuple[str, str], Ask]:
    logs = deployed.stack.client("logs")
    [found] = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    arn = found["arn"]
    return {
        ("logs:CreateLogStream", arn): lambda client: client.create_log_stream(
            logGroupName=group, logStreamName="intruder"
        ),
        ("logs:FilterLogEvents", arn): lambda client: client.filter_log_events(logGroupName=group),
        ("logs:DeleteLogGroup", arn): lambda client: client.delete_log_group(logGroupName=group),
    }


def _on_bus(deployed: Deployed) -> dict[tuple[str, str], Ask]:
    ours = deployed.stack.outputs["EventBusArn"]
    default = ours.rpartition("/")[0] + "/default"

    def put(bus: str) -> Ask:
        entry = {"Source": "roomkeeper", "DetailType": "forged", "Detail": "{}"}
        return lambda events: events.put_events(Entries=[entry | {"EventBusName": bus}])

    return {("events:PutEvents", bus): put(bus) for bus in (ours, default)}


def _on_dead_letters(deployed: Deployed) -> dict[tuple[str, str], Ask]:
    url = deployed.stack.outputs["DeadLetterQueueUrl"]
    attributes = deployed.stack.client("sqs").get_queue_attributes(
        QueueUrl=url, AttributeNames=["QueueArn"]
    )
    arn = attributes["Attributes"]["QueueArn"]
    return {
        ("sqs:SendMessage", arn): lambda sqs: sqs.send_message(QueueUrl=url, MessageBody="{}"),
        ("sqs:ReceiveMessage", arn): lambda sqs: sqs.receive_message(QueueUrl=url),
        ("sqs:PurgeQueue", arn): lambda sqs: sqs.purge_queue(QueueUrl=url),
    }


def _on_the_account(deployed: Deployed) -> dict[tuple[str, str], Ask]:
    role = deployed.id_of("ManagementApiRole")
    return {
        ("iam:GetRole", role): lambda iam: iam.get_role(RoleName=role),
        ("iam:DeleteRolePolicy", role): lambda iam: iam.delete_role_policy(
            RoleName=role, PolicyName="management-api"
        ),
        ("sns:ListTopics", "*"): lambda sns: sns.list_topics(),
        ("s3:ListAllMyBuckets", "*"): lambda s3: s3.list_buckets(),
        ("cloudformation:DeleteStack", "*"): lambda cfn: cfn.delete_stack(
            StackName=deployed.stack.name
        ),
    }


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


def is_refused(ask: Ask, client: Any) -> bool:
    """Return whether the call is denied; any other end means that it was let through."""
    try:
        ask(client)
    except ClientError as problem:
        return problem.response["Error"]["Code"] in DENIALS
    return False
