"""Templates and code obey rules that AWS enforces and the local AWS does not.

Limits come from where AWS publishes them for machines, in the libraries that are locked here:
botocore's API models, and the list of IAM actions in cfn-lint's data. Those that stand in AWS's
guides alone are constants with the page's title. docs/aws-rules.md has the whole list, with those
that another test or a linter holds.
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib import resources as files
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from local.testing.builders import NOON, PUBLISHED, a_callback
from local.testing.template import NAMESPACE, ROOT, properties, resources, template
from operations.deploy import Unusable, usable_stack_name
from operations.template import MAX_STACK_NAME, load, parameters
from roomkeeper.aws.bucket import LIMITED, RETENTION_TAG
from roomkeeper.callbacks.body import MAX_BODY_BYTES
from roomkeeper.domain import events
from roomkeeper.domain.observations import (
    RecordingObservation,
    SessionObservation,
    Unrecognized,
)
from roomkeeper.store import Store, items, observations
from tests.unit.conftest import Table

IDS = [sign * length for sign in "x\N{GRINNING FACE}" for length in (36, 256, 512, 1024, 2048)]
"""Ids of one and of four bytes a character; the long ones are to be refused."""

TEMPLATES = [
    ROOT / "template.yaml",
    ROOT / "operations/monitoring.yaml",
    ROOT / "operations/job.yaml",
    *sorted((ROOT / "examples").glob("*/*.yaml")),
]


@cache
def api_model(service: str) -> Any:
    """Return botocore's model of a service's API."""
    return botocore.session.get_session().get_service_model(service)


def violations(shape: Any, value: Any, path: str = "") -> Iterator[str]:
    """Yield where `value` breaks the limits that the API model has for `shape`.

    Maps have no limits there, and what a reference stands for is known only to CloudFormation.
    """
    if shape.type_name == "map" or (
        isinstance(value, dict) and value.keys() <= {"Ref", "Sub", "GetAtt", "If"}
    ):
        return
    if shape.type_name == "structure":
        for name in value.keys() & shape.members.keys():
            yield from violations(shape.members[name], value[name], f"{path}.{name}")
        return
    size = len(value) if isinstance(value, str | list) else value
    least, most = shape.metadata.get("min", size), shape.metadata.get("max", size)
    if not least <= size <= most:
        yield f"{path}: {size} is not from {least} to {most}"
    if shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield f"{path}: {value} is none of {shape.enum}"
    if shape.type_name == "list":
        for each in value:
            yield from violations(shape.member, each, path)


def resources_of(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the name, type and properties of every resource in a template."""
    for name, resource in load(path)["Resources"].items():
        yield name, resource["Type"], resource.get("Properties", {})


# --- names that are made of the stack's -----------------------------------------------------------


NAME_LIMITS = {
    ("AWS::Events::EventBus", "Name"): 256,  # "CreateEventBus" in the EventBridge API reference
    ("AWS::ApiGatewayV2::Api", "Name"): 128,  # "CreateApi" in the API Gateway v2 API reference
}


def test_the_longest_stack_name_fits_into_every_name_made_of_it() -> None:
    for name, kind, given in resources_of(ROOT / "template.yaml"):
        for member, value in given.items():
            pattern = value.get("Sub", "") if isinstance(value, dict) else ""
            if "${AWS::StackName}" in pattern and "\n" not in pattern:
                made = pattern.replace("${AWS::StackName}", "x" * MAX_STACK_NAME)
                assert len(made) <= NAME_LIMITS[kind, member], name
    namespace = NAMESPACE.replace("${AWS::StackName}", "x" * MAX_STACK_NAME)
    assert len(namespace) <= 255  # "PutMetricAlarm" in the CloudWatch API reference
    assert MAX_STACK_NAME <= 64  # a schema registry's name; EventBridge's console says so


@pytest.mark.parametrize("name", ["roomkeeper", "roomkeeper-prod", "R2", "x" * MAX_STACK_NAME])
def test_a_stack_name_that_aws_accepts_is_deployed(name: str) -> None:
    assert usable_stack_name(name) == name


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("room_keeper", "letters, digits and hyphens"),
        ("2rooms", "a letter first"),
        ("rooms\n", "letters, digits and hyphens"),
        ("x" * (MAX_STACK_NAME + 1), "at most 64 characters"),
        ("default", "AWS's own event bus"),
    ],
)
def test_a_stack_name_that_aws_refuses_is_refused_before_anything_is_built(
    name: str, error: str
) -> None:
    with pytest.raises(Unusable, match=f"{error}.*STACK="):
        usable_stack_name(name)


# --- parameters -----------------------------------------------------------------------------------

SCHEDULES = ["CleanupSchedule", "ReconciliationSchedule", "RoomExtensionSchedule"]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(
    "expression",
    [
        "rate(1 hour)",
        "rate(6 hours)",
        "rate(1 minute)",
        "rate(2 days)",
        "cron(0 3 * * ? *)",
        "cron(0/30 8-18 ? * MON-FRI *)",
        "cron(0 10 ? * 6L 2022-2032)",
        "at(2030-01-31T16:00:00)",
    ],
)
def test_an_expression_that_eventbridge_scheduler_accepts_is_a_schedule(
    name: str, expression: str
) -> None:
    assert parameters()[name].error_in(expression) is None


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(
    "expression",
    [
        "rate(0 hours)",
        "rate(1 week)",
        "rate(hour)",
        "rate(1.5 hours)",
        "cron(0 3 * * *)",
        "cron(0 3 * * * *)",
        "cron(0 3 1 * MON *)",
        "at(2030-01-31)",
        "at(2030-01-31T16:00:00Z)",
        "every(1 hour)",
    ],
)
def test_a_schedule_that_eventbridge_scheduler_refuses_is_refused_before_the_deployment(
    name: str, expression: str
) -> None:
    # "Schedule types in EventBridge Scheduler": six fields, and a ? in one of the two for days.
    assert "must be rate(VALUE UNIT)" in str(parameters()[name].error_in(expression))


def test_a_parameter_that_is_too_long_is_refused_before_anything_is_built() -> None:
    error = parameters()["VonageBaseUrl"].error_in("https://vonage.example/" + "x" * 256)
    assert error == "VonageBaseUrl must have at most 256 characters"


def longest(value: Any) -> int:
    """Return the bytes that a variable may have: a text's, a parameter's or a reference's."""
    if not isinstance(value, dict):
        return len(str(value).encode())
    if "If" in value:
        return max(map(longest, value["If"][1:]))
    if value.get("Ref") in {"CopyBucket", "CopiesBucket"}:
        return 63  # "Bucket naming rules" in the S3 user guide: lower case ASCII
    if (parameter := template()["Parameters"].get(value.get("Ref"))) is None:
        return 300  # more than a name, URL or ARN of a resource of ours can have
    if "AllowedValues" in parameter:
        return max(map(len, parameter["AllowedValues"]))
    return 4 * int(parameter["MaxLength"]) if parameter["Type"] == "String" else 10


@pytest.mark.parametrize("name", resources("AWS::Serverless::Function"))
def test_a_functions_variables_fit_into_4_kb(name: str) -> None:
    # "Lambda quotas": 4 KB for all of a function's environment variables together.
    both = template()["Globals"]["Function"], properties(name)
    variables = {k: v for part in both for k, v in part["Environment"]["Variables"].items()}
    assert sum(len(key) + longest(value) for key, value in variables.items()) <= 4096


# --- properties that linters do not look into -----------------------------------------------------


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_functions_properties_are_within_lambdas_limits(path: Path) -> None:
    """Hold what SAM hands on to Lambda: linters look into CloudFormation's own types alone."""
    model = api_model("lambda")
    for name, kind, function in resources_of(path):
        if kind != "AWS::Serverless::Function":
            continue
        assert not [*violations(model.shape_for("CreateFunctionRequest"), function)], name
        for event in function.get("Events", {}).values():
            if event["Type"] in ("DynamoDB", "SQS"):
                shape = model.shape_for("CreateEventSourceMappingRequest")
                assert not [*violations(shape, event["Properties"])], name


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"Description": "x" * 257}, ".Description: 257 is not from 0 to 256"),
        ({"MemorySize": 64}, ".MemorySize: 64 is not from 128"),
        ({"Runtime": "python3.99"}, ".Runtime: python3.99 is none of"),
        ({"Runtime": {"Ref": "Runtime"}, "Timeout": 900}, ""),
    ],
)
def test_lambdas_limits_are_known_to_these_tests(change: dict[str, Any], error: str) -> None:
    shape = api_model("lambda").shape_for("CreateFunctionRequest")
    assert error in "; ".join(violations(shape, change))
    assert bool(error) is bool([*violations(shape, change)])


# --- permissions ----------------------------------------------------------------------------------


@cache
def known_actions() -> dict[str, Any]:
    """Return what the Service Authorization Reference lists, as cfn-lint ships it."""
    text = files.files("cfnlint.data.AdditionalSpecs").joinpath("Policies.json").read_text()
    return dict(json.loads(text))


def statements(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every statement in a template's policies, with the resource that it belongs to."""
    for name, _, given in resources_of(path):
        documents = [
            given.get("PolicyDocument"),
            given.get("Policy"),
            *(each.get("PolicyDocument", each) for each in given.get("Policies", ())),
        ]
        for document in filter(None, documents):
            for statement in document["Statement"]:
                yield name, statement["If"][1] if "If" in statement else statement


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_action_that_a_policy_names_exists(path: Path) -> None:
    for name, statement in statements(path):
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            if (action, statement["Effect"]) == ("s3:*", "Deny"):
                continue
            service, _, verb = action.partition(":")
            assert verb.lower() in known_actions()[service]["Actions"], f"{name}: {action}"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_policys_conditions_use_keys_that_aws_sets(path: Path) -> None:
    # "Condition keys for Amazon EventBridge"; "AWS global condition context keys".
    known = {"events:source", "aws:SourceArn", "aws:SourceAccount", "aws:PrincipalArn"}
    known |= {"aws:PrincipalIsAWSService", "aws:ResourceAccount", "aws:SecureTransport"}
    known |= {"s3:prefix"}  # "Condition keys for Amazon S3"
    known |= {"lambda:SourceFunctionArn"}  # "Working with Lambda environment credentials"
    for name, statement in statements(path):
        for keys in statement.get("Condition", {}).values():
            assert keys.keys() <= known, name


WITH_SEVERAL_VALUES = {"events:source"}
"""Condition keys of the type ArrayOfString ("Condition keys for Amazon EventBridge"). PutEvents
takes up to ten events, and AWS's own example of such a policy uses ForAllValues."""


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_condition_on_a_key_with_several_values_says_how_many_must_match(path: Path) -> None:
    # "Set operators for multivalued context keys". Without one, "Using IAM policy conditions in
    # Amazon EventBridge" shows that a request with two allowed values is denied.
    for name, statement in statements(path):
        for operator, keys in statement.get("Condition", {}).items():
            is_set = operator.startswith(("ForAllValues:", "ForAnyValue:"))
            assert is_set or not keys.keys() & WITH_SEVERAL_VALUES, name


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
def test_a_roles_policies_fit_into_iams_limit(role: str) -> None:
    # "IAM and AWS STS quotas": 10,240 characters for all inline policies, blanks not counted.
    text = json.dumps(properties(role)["Policies"], separators=(",", ":"))
    references = text.count('"Sub"') + text.count('"GetAtt"') + text.count('"Ref"')
    assert len(text) + 300 * references < 10_240


# --- queues that functions read -------------------------------------------------------------------


def queues_read() -> Iterator[tuple[Any, Any, Any]]:
    """Yield every queue that a function reads, its dead-letter queue, and the function."""
    for path in TEMPLATES:
        known = {name: given for name, _, given in resources_of(path)}
        for function in known.values():
            for event in function.get("Events", {}).values():
                if event["Type"] == "SQS":
                    queue = known[target(event["Properties"]["Queue"])]
                    dead_letters = known[target(queue["RedrivePolicy"]["deadLetterTargetArn"])]
                    yield queue, dead_letters, function


def target(reference: dict[str, str]) -> str:
    return reference["GetAtt"].removesuffix(".Arn")


QUEUES = [*queues_read()]


@pytest.mark.parametrize(("queue", "dead_letters", "function"), QUEUES)
def test_a_queues_messages_stay_hidden_for_six_timeouts_and_are_tried_five_times(
    queue: Any, dead_letters: Any, function: Any
) -> None:
    # "Creating and configuring an Amazon SQS event source mapping" in the Lambda guide.
    assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5


@pytest.mark.parametrize(("queue", "dead_letters", "function"), QUEUES)
def test_a_dead_letter_queue_keeps_for_longer_than_the_queue_before_it(
    queue: Any, dead_letters: Any, function: Any
) -> None:
    # "Using dead-letter queues in Amazon SQS": a message's age goes with it.
    assert dead_letters["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]


def test_the_queues_that_functions_read_are_found() -> None:
    assert QUEUES


# --- buckets that get uploads in parts ------------------------------------------------------------


def test_the_parts_of_an_abandoned_upload_are_deleted() -> None:
    # "Configuring a bucket lifecycle configuration to delete incomplete multipart uploads".
    bucket = properties("CopiesBucket")
    [rule] = [
        rule
        for rule in bucket["LifecycleConfiguration"]["Rules"]
        if "AbortIncompleteMultipartUpload" in rule
    ]
    assert rule["Status"] == "Enabled"
    assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] <= 7


def test_no_lifecycle_rule_deletes_a_copy_on_hold() -> None:
    # "Lifecycle configuration elements": rules for noncurrent versions may select by tags, too.
    rules = properties("CopiesBucket")["LifecycleConfiguration"]["Rules"]
    of_all_parameters = [each for rule in rules for each in rule.get("If", [None, rule])[1:2]]
    deleting = [
        rule
        for rule in of_all_parameters
        if {"ExpirationInDays", "NoncurrentVersionExpiration"} & set(rule)
    ]
    assert len(deleting) == 2
    for rule in deleting:
        assert rule["TagFilters"] == [{"Key": RETENTION_TAG, "Value": LIMITED}]
        # S3 refuses these together with tags.
        assert not {"AbortIncompleteMultipartUpload", "ExpiredObjectDeleteMarker"} & set(rule)


# --- the table ------------------------------------------------------------------------------------


def test_properties_whose_change_would_replace_the_table_are_unchanged() -> None:
    """Hold what CloudFormation cannot change without a new, empty table."""
    table = properties("Table")
    assert table["KeySchema"] == [{"AttributeName": "pk", "KeyType": "HASH"}]
    assert "TableName" not in table


@pytest.mark.parametrize("event", PUBLISHED)
def test_every_accepted_id_fits_into_the_tables_keys(event: str, table: Table) -> None:
    # "Quotas in DynamoDB": 2,048 bytes for a partition key, 1,024 for a sort key, no empty text.
    keys = {
        part["AttributeName"]: 2048 if part["KeyType"] == "HASH" else 1024
        for each in (properties("Table"), *properties("Table")["GlobalSecondaryIndexes"])
        for part in each["KeySchema"]
    }
    names = [name for name in PUBLISHED[event] if name.endswith("_id")]
    made = [a_callback(event, **dict.fromkeys(names, id_)) for id_ in IDS]
    taken = [callback for callback in made if not isinstance(callback, Unrecognized)]
    assert 0 < len(taken) < len(made)
    for callback in taken:
        Store(table.client, table.name).apply(callback, NOON)
    for item in table.items():
        for name in item.keys() & keys.keys():
            assert 0 < len(item[name]["S"].encode()) <= keys[name], name


@pytest.mark.parametrize("event", PUBLISHED)
def test_an_empty_id_never_becomes_a_key(event: str) -> None:
    for name in (name for name in PUBLISHED[event] if name.endswith("_id")):
        assert isinstance(a_callback(event, **{name: ""}), Unrecognized)


def test_the_largest_callback_fits_into_an_item(table: Table) -> None:
    # "Quotas in DynamoDB": 400 KB with the names of attributes.
    known = len(json.dumps({"event": "unheard of", "x": ""}))
    callback = a_callback("unheard of", x="x" * (MAX_BODY_BYTES - known))
    assert len(callback.body.encode()) == MAX_BODY_BYTES  # type: ignore[union-attr]
    Store(table.client, table.name).apply(callback, NOON)
    [item] = table.items()
    texts = [part for name, value in item.items() for part in (name, *value.values())]
    assert sum(len(str(text).encode()) for text in texts) < 400 * 1024


@pytest.mark.parametrize("event", [*PUBLISHED, "unheard of"])
def test_an_expression_fits_into_dynamodbs_limit(event: str) -> None:
    # "Quotas in DynamoDB": 4 KB for an expression, 255 characters for an attribute's name.
    callback = a_callback(event)
    until = datetime(2030, 1, 1, tzinfo=UTC)
    if isinstance(callback, RecordingObservation):
        update = observations.recording_update(callback, NOON, 1)
    elif isinstance(callback, SessionObservation):
        update = observations.session_update(callback, NOON, until)
    else:
        update = observations.outbox_update(callback, NOON, until)
    written = items.build_update(update)
    assert max(len(written["update"]), len(written["condition"])) <= 4096
    assert all(len(name) <= 255 for name in written["ExpressionAttributeNames"].values())


# --- events and their schemas ---------------------------------------------------------------------


def test_detail_types_fit_into_eventbridges_limit() -> None:
    # "PutEvents" in the EventBridge API reference: 128 characters.
    assert max(map(len, events.data_types)) <= 128


def test_every_schema_is_within_the_registrys_limits() -> None:
    model = api_model("schemas")
    for name, kind, given in resources_of(ROOT / "schemas/template.yaml"):
        shape = model.shape_for(f"Create{kind.rpartition('::')[2]}Request")
        assert not [*violations(shape, given)], name
        json.loads(given.get("Content", "{}"))


# --- what the page says ---------------------------------------------------------------------------


def test_every_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs/aws-rules.md").read_text()
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", page))
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    written = {name for text in sources for name in re.findall(r"def (test_\w+)", text)}
    assert len(named) > 20
    assert named <= written
