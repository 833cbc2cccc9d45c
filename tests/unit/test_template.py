import ast
import json
import re
import string
from collections.abc import Iterator, Mapping
from datetime import timedelta
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any, get_type_hints

import pytest

from local.testing.builders import (
    NOON,
    PUBLISHED,
    Image,
    a_callback,
    a_record,
    a_recording_ended,
    a_session_ended,
)
from local.testing.template import ROOT, environment, properties, resources, template
from operations.template import condition_holds, included, job_stacks, load, parameters
from roomkeeper.callbacks.authenticity import CLOCK_SKEW
from roomkeeper.jobs.reconciliation import MAX_SESSION_TIME
from roomkeeper.jobs.room_extension_settings import RoomExtensionSettings
from roomkeeper.settings import (
    CleanupSettings,
    CopySettings,
    JobSettings,
    ReconciliationSettings,
    VonageSettings,
)
from roomkeeper.store import Store, events_due
from tests.unit.conftest import Table

DEFAULTS = {name: each.default for name, each in parameters().items()}
FUNCTIONS = resources("AWS::Serverless::Function")
JOBS = {
    "recording_cleanup": ("cleanup", CleanupSettings),
    "recording_copier": ("copying", CopySettings),
    "recording_reconciler": ("reconciliation", ReconciliationSettings),
    "room_expiry_extender": ("room_extension", RoomExtensionSettings),
}
"""The module and the settings of each job, by the name of its function."""
CONSTRAINTS = {"AllowedValues", "AllowedPattern", "MinValue", "MaxValue", "MinLength", "MaxLength"}


OF_COPIES = {"MakeCopies", "ServeHoldAndDeleteCopies", "FindCopies", "FindVersions"}
"""The statements on objects of the copies' bucket, whose keys start with recordings/."""


def statements(role: str) -> list[dict[str, Any]]:
    """Return what a role may do."""
    policies = properties(role)["Policies"]
    return [plain(s) for policy in policies for s in policy["PolicyDocument"]["Statement"]]


def plain(statement: dict[str, Any]) -> dict[str, Any]:
    """Return a statement; one that depends on a condition as if that were true."""
    allowed: dict[str, Any] = statement["If"][1] if "If" in statement else statement
    return allowed


def role_of(function: str) -> str:
    role: str = properties(function)["Role"]["GetAtt"].removesuffix(".Arn")
    return role


def as_list(one_or_more: Any) -> list[Any]:
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]


# --- parameters -----------------------------------------------------------------------------------


def test_a_parameter_has_a_description_and_constraints() -> None:
    for name, parameter in template()["Parameters"].items():
        assert parameter["Description"].endswith("."), name
        assert parameter.keys() & CONSTRAINTS, f"{name} has no constraint"
        assert "Default" in parameter, f"{name} has no default"


def test_a_default_is_one_of_the_values_that_may_be() -> None:
    for name, parameter in template()["Parameters"].items():
        default = parameter["Default"]
        assert default in parameter.get("AllowedValues", [default]), name
        assert re.search(parameter.get("AllowedPattern", ""), str(default)), name
        if parameter["Type"] == "Number":
            limits = parameter.get("MinValue", default), parameter.get("MaxValue", default)
            assert limits[0] <= default <= limits[1], name


@pytest.mark.parametrize(
    "name", ["SessionRetentionDays", "EventRetentionDays", "DeletedRecordingRetentionDays"]
)
def test_items_of_callbacks_outlive_the_callbacks_signatures(name: str) -> None:
    # A session is kept from its start, and its end is reported, and signed, when it ends.
    longest = timedelta(hours=template()["Parameters"]["CallbackSignatureMaxAgeHours"]["MaxValue"])
    kept = timedelta(days=template()["Parameters"][name]["MinValue"])
    assert kept >= longest + MAX_SESSION_TIME > longest + CLOCK_SKEW


def test_a_callback_that_vonage_retries_for_24_hours_still_has_a_signature_that_holds() -> None:
    # "Webhooks" in Vonage's guides: pauses double up to 15 minutes, for 24 hours.
    last_retry = timedelta(hours=24, minutes=15)
    limit = template()["Parameters"]["CallbackSignatureMaxAgeHours"]
    assert timedelta(hours=limit["MinValue"]) > last_retry + CLOCK_SKEW
    assert limit["Default"] >= limit["MinValue"]


@pytest.mark.parametrize(
    "url",
    [
        "https://api-eu.vonage.com/beta/meetings",
        "https://vonage.example",
        "http://127.0.0.1:4570/beta/meetings",
        "http://localhost:4570",
    ],
)
def test_vonage_is_called_over_tls_or_on_this_machine(url: str) -> None:
    assert parameters()["VonageBaseUrl"].error_in(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://api-eu.vonage.com/beta/meetings",
        "http://127.0.0.1.vonage.example/beta",
        "http://localhost:4570@vonage.example",
        "http://localhost.vonage.example",
        "ftp://127.0.0.1/beta",
        "https://vonage.example/beta/",
        "https://vonage.example/beta?page=1",
    ],
)
def test_credentials_for_vonage_never_leave_this_machine_in_the_clear(url: str) -> None:
    assert "must be an https:// URL" in str(parameters()["VonageBaseUrl"].error_in(url))


def test_every_parameter_is_offered_in_one_group() -> None:
    groups = template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    offered = [name for group in groups for name in group["Parameters"]]
    assert sorted(offered) == sorted(template()["Parameters"])


@pytest.mark.parametrize("name", resources("AWS::CloudFormation::Stack"))
def test_a_nested_stack_gets_each_of_its_parameters(name: str) -> None:
    nested = properties(name)
    declared = load(ROOT / nested["TemplateURL"])["Parameters"]
    required = {each for each in declared if "Default" not in declared[each]}
    assert required <= nested["Parameters"].keys() <= declared.keys()


def test_resource_types_that_some_regions_lack_can_be_left_out() -> None:
    assert template()["Resources"]["EventArchive"]["Condition"] == "HasEventArchive"
    assert included(DEFAULTS | {"EventArchiveRetentionDays": "1"}).keys() >= {"EventArchive"}
    assert "EventArchive" not in included(DEFAULTS | {"EventArchiveRetentionDays": "0"})
    assert included(DEFAULTS | {"SchemaRegistry": "true"}).keys() >= {"EventSchemas"}
    assert "EventSchemas" not in included(DEFAULTS)


@pytest.mark.parametrize("name", resources("AWS::Events::EventBus"))
def test_an_event_bus_has_no_description_which_govcloud_refuses(name: str) -> None:
    assert "Description" not in properties(name)


OF_A_PRODUCT = {
    "meetings": {
        *("CallbackSecret", "VonageSecret", "CallbackRoute", "CallbackWithTokenRoute"),
        *("RoomExpiryExtender", "RoomExpiryExtenderLogs", "RoomExpiryExtenderRole"),
        "RoomExpiryExtenderJob",
    },
    "video": {
        *("VideoCallbackSecret", "VideoSecret", "VideoCallbackRoute"),
        "VideoCallbackWithTokenRoute",
    },
}


def test_a_product_that_is_not_served_has_no_route_schedule_or_secret() -> None:
    everything = included(DEFAULTS | {"Products": "both"}).keys()
    for product, other in (("meetings", "video"), ("video", "meetings")):
        left_out = everything - included(DEFAULTS | {"Products": product}).keys()
        assert left_out == OF_A_PRODUCT[other]


@pytest.mark.parametrize("product", ["meetings", "video"])
def test_a_resource_refers_to_none_that_is_left_out_with_a_product(product: str) -> None:
    values = DEFAULTS | {"Products": product}
    kept = included(values)
    for name, part in {**kept, **included_outputs(values)}.items():
        found = set(references(resolved(part, values))) & template()["Resources"].keys()
        assert found <= kept.keys(), name


def included_outputs(values: dict[str, str]) -> dict[str, Any]:
    return {
        name: output
        for name, output in template()["Outputs"].items()
        if holds(output.get("Condition"), values)
    }


def references(part: Any) -> Iterator[str]:
    """Yield the logical ids that a part of the template refers to."""
    if isinstance(part, Mapping):
        for name, value in part.items():
            if name in ("Ref", "GetAtt"):
                yield str(value).partition(".")[0]
            elif name == "Sub":
                text = value if isinstance(value, str) else value[0]
                yield from (each.partition(".")[0] for each in re.findall(r"\$\{([^!}]+)\}", text))
            yield from references(value)
    elif isinstance(part, list):
        for each in part:
            yield from references(each)


def resolved(part: Any, values: dict[str, str]) -> Any:
    """Return a part of the template with the chosen branch of each `If`."""
    if isinstance(part, Mapping):
        if "If" in part:
            condition, given, otherwise = part["If"]
            return resolved(given if holds(condition, values) else otherwise, values)
        return {name: resolved(each, values) for name, each in part.items()}
    return [resolved(each, values) for each in part] if isinstance(part, list) else part


def holds(condition: str | None, values: dict[str, str]) -> bool:
    return condition is None or condition_holds({"Condition": condition}, values)


def test_the_dashboard_has_the_room_extension_with_its_function_alone() -> None:
    passed = properties("Monitoring")["Parameters"]["RoomExpiryExtender"]
    assert passed == {"If": ["ServesMeetings", {"Ref": "RoomExpiryExtender"}, ""]}
    condition = load(ROOT / "operations/monitoring.yaml")["Conditions"]["ExtendsRooms"]
    assert condition == {"Not": [{"Equals": [{"Ref": "RoomExpiryExtender"}, ""]}]}


@pytest.mark.parametrize(
    ("partition", "domain"),
    [
        ("aws", "aws.amazon.com"),
        ("aws-us-gov", "amazonaws-us-gov.com"),
        ("aws-cn", "amazonaws.cn"),
    ],
)
def test_the_dashboard_is_linked_in_the_console_of_the_regions_partition(
    partition: str, domain: str
) -> None:
    """Each has its own domain: "Signing in to the AWS GovCloud console", "AWS China console"."""
    value = template()["Outputs"]["DashboardUrl"]["Value"]
    text, variables = resolved(value, {"AWS::Partition": partition})["Sub"]
    assert text.startswith("https://${AWS::Region}.console.${Domain}/cloudwatch/")
    assert variables["Domain"] == domain


TEMPLATES = [
    ROOT / "template.yaml",
    *ROOT.glob("schemas/*.yaml"),
    *ROOT.glob("operations/*.yaml"),
    *ROOT.glob("examples/*/*.yaml"),
]
SECRETS = {
    f"{path.relative_to(ROOT)}: {name}": resource["Properties"]["GenerateSecretString"]
    for path in TEMPLATES
    for name, resource in load(path)["Resources"].items()
    if "GenerateSecretString" in resource.get("Properties", {})
}
CLASSES = {
    "ExcludeLowercase": string.ascii_lowercase,
    "ExcludeUppercase": string.ascii_uppercase,
    "ExcludeNumbers": string.digits,
    "ExcludePunctuation": string.punctuation,
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_generated_secret_is_within_awss_limits(secret: dict[str, Any]) -> None:
    """Source: Secrets Manager API Reference, GetRandomPassword.

    With RequireEachIncludedType, true unless set, a class that is included must have a character
    left: "All characters of the desired type have been excluded" is the error otherwise.
    """
    asked_for = [each for flag, each in CLASSES.items() if not secret.get(flag)]
    left = [set(each) - set(secret.get("ExcludeCharacters", "")) for each in asked_for]
    assert asked_for
    assert all(left), "ExcludeCharacters leaves nothing of a class that no other flag excludes"


@pytest.mark.parametrize("name", ["CallbackSecret", "VideoCallbackSecret"])
def test_a_callback_token_is_letters_and_digits_on_the_local_aws_too(name: str) -> None:
    # MiniStack knows no other property than ExcludeCharacters; the token goes into a URL.
    token = SECRETS[f"template.yaml: {name}"]
    assert set(token["ExcludeCharacters"]) >= set(string.punctuation)


# --- functions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_in_the_folder_of_its_name(name: str) -> None:
    folder = re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
    function = properties(name)
    assert function["CodeUri"] == f"functions/{folder}"
    assert (ROOT / function["CodeUri"] / "app.py").exists()
    assert environment(name)["POWERTOOLS_SERVICE_NAME"] == folder


def test_every_folder_of_a_function_is_deployed() -> None:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
    assert folders == {PurePath(properties(name)["CodeUri"]).name for name in FUNCTIONS}


@pytest.mark.parametrize("file", [*(ROOT / "functions").rglob("*.py")], ids=lambda f: f.parent.name)
def test_a_functions_own_code_only_imports_its_handler_from_the_layer(file: Path) -> None:
    # Lambda updates the layer and the code in two calls; what is in the layer changes at once.
    docstring, *code = ast.parse(file.read_text()).body
    assert isinstance(docstring, ast.Expr)
    name, _ = JOBS.get(file.parent.name, (file.parent.name, None))
    assert "\n".join(map(ast.unparse, code)) == (
        f"from roomkeeper.handlers.{name} import handler\n__all__ = ['handler']"
    )
    assert file.name == "app.py"


def test_only_the_functions_that_call_vonage_have_the_layer_of_its_libraries() -> None:
    # PyJWT would import cryptography in the intake, which verifies by HMAC alone.
    having = {name for name in FUNCTIONS if "RoomkeeperLayerForVonage" in _layers(name)}
    assert having == {name for name in FUNCTIONS if "VONAGE_SECRET_ARN" in environment(name)}


def test_only_the_intake_has_the_layer_of_the_common_runtime() -> None:
    # boto3 would import it in the others, and make their cold starts longer.
    having = [name for name in FUNCTIONS if "RoomkeeperLayerForIntake" in _layers(name)]
    assert having == ["CallbackIntake"]


def _layers(name: str) -> list[str]:
    """Return the layers of a function beside that of all functions."""
    return [layer["Ref"] for layer in properties(name).get("Layers", [])]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_functions_logs_expire_and_only_it_writes_them(name: str) -> None:
    group = properties(name)["LoggingConfig"]["LogGroup"]["Ref"]
    assert properties(group)["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    writers = [
        role
        for role in resources("AWS::IAM::Role")
        if {"GetAtt": f"{group}.Arn"} in [s["Resource"] for s in statements(role)]
    ]
    assert writers == [role_of(name)]


@pytest.mark.parametrize("name", resources("AWS::Logs::LogGroup"))
def test_all_logs_expire(name: str) -> None:
    assert properties(name)["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_a_role_of_its_own(name: str) -> None:
    assert [role_of(other) for other in FUNCTIONS].count(role_of(name)) == 1
    assert "Policies" not in properties(name)


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
def test_a_role_has_no_managed_policies(role: str) -> None:
    assert "ManagedPolicyArns" not in properties(role)


# They need the resource "*" ("Service Authorization Reference").
WITHOUT_RESOURCE_TYPE = {
    "dynamodb:ListStreams",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
}
NETWORK = {
    *("ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"),
    *("ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"),
}
"""Actions of the managed policy AWSLambdaVPCAccessExecutionRole, which allows them on "*"."""


@pytest.mark.parametrize("role", ["RecordingCopierRole", "ManagementApiRole"])
def test_copies_are_only_in_a_bucket_of_this_account(role: str) -> None:
    """Anybody may own a bucket of the same name, once the operator's is deleted.

    Source: "Verifying bucket ownership with bucket owner condition" in the Amazon S3 user guide.
    """
    about_copies = [each for each in statements(role) if each["Sid"] in OF_COPIES]
    assert len(about_copies) == 2
    for statement in about_copies:
        owner = statement["Condition"]["StringEquals"]["aws:ResourceAccount"]
        assert owner == {"Ref": "AWS::AccountId"}


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
def test_a_role_names_every_action_and_every_resource(role: str) -> None:
    for statement in statements(role):
        actions = as_list(statement["Action"])
        assert statement["Effect"] == "Allow" or statement["Sid"] == "NoNetworkInterfacesForCode"
        assert not [action for action in actions if "*" in action]
        if statement["Sid"] in OF_COPIES:
            assert "${Bucket}" in statement["Resource"]["Sub"][0]
            continue
        if not set(actions) <= WITHOUT_RESOURCE_TYPE | NETWORK:
            assert not [each for each in as_list(statement["Resource"]) if "*" in str(each)]
        else:
            assert statement["Resource"] == "*"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_gets_exactly_the_variables_that_it_reads(name: str) -> None:
    class Reading(dict[str, str]):
        def __getitem__(self, variable: str) -> str:
            read.add(variable)
            return super().__getitem__(variable)

    read: set[str] = set()
    folder = PurePath(properties(name)["CodeUri"]).name
    kinds: list[Any]
    if folder in JOBS:
        kinds = [JOBS[folder][1], JobSettings, VonageSettings]
    else:
        getter = import_module(f"roomkeeper.handlers.{folder}")._settings
        kinds = [get_type_hints(getter.__wrapped__)["return"]]
    for kind in kinds:
        kind.from_env(Reading(environment(name)))
    environment_names = {
        var for var in environment(name) if not var.startswith(("POWERTOOLS_", "URL_SUFFIX"))
    }
    assert environment_names == read


# --- what code and template both name -------------------------------------------------------------


def stored(table: Table) -> dict[str, Image]:
    """Return an item of every kind, by the event that created it."""
    store = Store(table.client, table.name, session_days=2, event_days=2)
    found: dict[str, Image] = {}
    for event in [*PUBLISHED, "archive:ready"]:
        before = table.items()
        store.apply(a_callback(event), NOON)
        [found[event]] = [item for item in table.items() if item not in before]
    return found


def test_items_kept_for_a_time_have_a_ttl(table: Table) -> None:
    ttl = properties("Table")["TimeToLiveSpecification"]
    assert ttl["Enabled"] is True
    kept_for_good = {
        name
        for name, item in stored(table).items()
        if "N" not in item.get(ttl["AttributeName"], {})
    }
    assert kept_for_good == {"recording:started", "recording:ended", "recording:uploaded"}


@pytest.mark.parametrize(
    "index", [i["IndexName"] for i in properties("Table")["GlobalSecondaryIndexes"]]
)
def test_stored_items_can_be_found_by_every_index(index: str, table: Table) -> None:
    store = Store(table.client, table.name)
    for callback in (a_recording_ended(), a_session_ended()):
        store.apply(callback, NOON)
    found = table.client.scan(TableName=table.name, IndexName=index)["Items"]
    kinds = {item["pk"]["S"].partition("#")[0] for item in found}
    assert kinds == ({"SESSION"} if index == "by_room" else {"RECORDING", "SESSION"})


def test_the_table_outlives_the_stack_and_can_be_restored() -> None:
    table = template()["Resources"]["Table"]
    policies = table["DeletionPolicy"], table["UpdateReplacePolicy"]
    # The former is no value of an UpdateReplacePolicy. A creation that is rolled back leaves no
    # table: it would be empty, and bar nothing but its own name.
    assert policies == ("RetainExceptOnCreate", "Retain")
    recovery = table["Properties"]["PointInTimeRecoverySpecification"]
    assert recovery == {"PointInTimeRecoveryEnabled": True}


def test_the_table_is_encrypted_by_a_key_that_costs_nothing_unless_another_is_given() -> None:
    # "DynamoDB encryption at rest" in its guide: always on; KMS charges for keys of the account.
    condition, _, without = properties("Table")["SSESpecification"]["If"]
    assert (condition, without) == ("HasEncryptionKey", {"Ref": "AWS::NoValue"})
    assert parameters()["EncryptionKeyArn"].default == ""


def test_the_stream_shows_what_changed() -> None:
    assert properties("Table")["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


@pytest.mark.parametrize("event", [*PUBLISHED, "archive:ready"])
def test_the_publisher_is_invoked_where_an_event_can_be_due(event: str, table: Table) -> None:
    assert lets_through(a_record(stored(table)[event]))


@pytest.mark.parametrize("key", ["RECORDING#1", "SESSION#1"])
def test_the_publisher_is_invoked_for_new_and_changed_items(key: str) -> None:
    assert lets_through(a_record({"pk": {"S": key}, "x": {"S": "1"}}, {"pk": {"S": key}}))


@pytest.mark.parametrize(
    "record",
    [
        a_record({"pk": {"S": "EVENT#1"}, "x": {"S": "1"}}, {"pk": {"S": "EVENT#1"}}),
        a_record({"pk": {"S": "COUNTER#1"}}),
        a_record({"pk": {"S": "RECORDING#1"}}) | {"eventName": "REMOVE"},
        a_record({"pk": {"S": "EVENT#1"}}) | {"eventName": "REMOVE"},
    ],
)
def test_the_publisher_is_not_invoked_in_vain(record: dict[str, Any]) -> None:
    assert not lets_through(record)
    assert (
        events_due(record) == []
    )  # a redrive invokes the publisher with records that the filter drops, too


def lets_through(record: dict[str, Any]) -> bool:
    """Return whether a record passes the publisher's filter, as Lambda's guide describes it."""
    [trigger] = properties("EventPublisher")["Events"].values()
    patterns = trigger["Properties"]["FilterCriteria"]["Filters"]
    return any(_matches(json.loads(filter_["Pattern"]), record) for filter_ in patterns)


def _matches(pattern: Any, value: Any) -> bool:
    if isinstance(pattern, Mapping):
        return all(name in value and _matches(p, value[name]) for name, p in pattern.items())
    return any(
        value.startswith(wanted["prefix"]) if isinstance(wanted, Mapping) else value == wanted
        for wanted in pattern
    )


# --- the publisher's failures ---------------------------------------------------------------------

FOR_REDRIVE = 12
"""Hours from the dead letter until the stream drops its records: the time for a redrive."""


def test_the_publisher_has_partial_responses_a_limit_of_retries_and_a_failure_destination() -> None:
    [trigger] = properties("EventPublisher")["Events"].values()
    source = trigger["Properties"]
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["BisectBatchOnFunctionError"] is True
    # Attempts and age: whichever comes first ends the retries, and attempts have no known interval.
    assert source["MaximumRetryAttempts"] == -1
    # Records that the stream drops after 24 hours reach no destination and no metric.
    hours = source["MaximumRecordAgeInSeconds"] / 3600
    assert 0 < hours <= 24 - FOR_REDRIVE
    on_failure = source["DestinationConfig"]["OnFailure"]["Destination"]
    assert on_failure == {"GetAtt": "DeadLetterQueue.Arn"}


def test_dead_letters_raise_an_alarm() -> None:
    alarm = properties("DeadLetterAlarm")
    [queue] = alarm["Dimensions"]
    assert queue["Value"] == {"GetAtt": "DeadLetterQueue.QueueName"}
    assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]


# --- jobs -----------------------------------------------------------------------------------------


def function_of(job: str) -> str:
    function: str = properties(job)["Parameters"]["Function"]["Ref"]
    return function


def test_each_job_has_a_stack_that_starts_and_watches_it() -> None:
    folders = {job: PurePath(properties(function_of(job))["CodeUri"]).name for job in job_stacks()}
    assert sorted(folders.values()) == sorted(JOBS)
    for job in job_stacks():
        assert job == f"{function_of(job)}Job"


@pytest.mark.parametrize("job", job_stacks())
def test_a_jobs_stack_exists_with_its_function_alone(job: str) -> None:
    given = template()["Resources"]
    assert given[job].get("Condition") == given[function_of(job)].get("Condition")


@pytest.mark.parametrize("job", job_stacks())
def test_a_job_has_a_route_of_its_name_that_requires_a_signature(job: str) -> None:
    route, name = properties(f"{job}/Route"), properties(job)["Parameters"]["Name"]
    assert route["RouteKey"] == f"POST /jobs/{name}"
    assert route["AuthorizationType"] == "AWS_IAM"
    assert route["Target"] == {"Sub": "integrations/${Integration}"}
    permission = properties(f"{job}/InvokePermission")
    assert permission["FunctionName"] == {"Ref": function_of(job)}
    assert permission["SourceArn"]["Sub"].endswith(f":${{HttpApi}}/*/POST/jobs/{name}")


@pytest.mark.parametrize("job", job_stacks())
def test_a_job_that_fails_raises_an_alarm(job: str) -> None:
    alarm = properties(f"{job}/FailureAlarm")
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", "Errors")
    assert alarm["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": function_of(job)}}]
    assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]


@pytest.mark.parametrize("job", job_stacks())
def test_a_schedules_role_starts_its_own_job_alone(job: str) -> None:
    target = properties(f"{job}/Schedule")["Target"]
    assert target["RoleArn"] == {"GetAtt": "ScheduleRole.Arn"}
    [statement] = statements(f"{job}/ScheduleRole")
    assert statement["Action"] == "lambda:InvokeFunction"
    assert (
        statement["Resource"] == target["Arn"] == properties(f"{job}/Integration")["IntegrationUri"]
    )
    assert target["Arn"]["Sub"].endswith(f":function:${{{function_of(job)}}}")


@pytest.fixture
def example(tmp_path: Path) -> dict[str, Any]:
    """The template with the job that CONTRIBUTING.md adds to it."""
    parameters_, added = example_of_a_job().split("\nResources:\n")
    text = (ROOT / "template.yaml").read_text()
    for place, new in (("\nConditions:\n", parameters_), ("  # --- Management API", added)):
        text = text.replace(place, f"{new.removeprefix('Parameters:')}\n{place}", 1)
    (tmp_path / "template.yaml").write_text(text)
    return load(tmp_path / "template.yaml")


def example_of_a_job() -> str:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    [found] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    return str(found)


def as_reconciliation(part: Any) -> Any:
    """Return a part of the example with the names of the recording reconciliation."""
    text = json.dumps(part).replace("RecordingAuditor", "RecordingReconciler")
    text = text.replace("AuditSchedule", "ReconciliationSchedule")
    text = text.replace("recording_auditor", "recording_reconciler")
    return json.loads(text.replace('"audit"', '"reconciliation"'))


def test_a_job_costs_at_most_40_lines_of_all_templates_together(example: dict[str, Any]) -> None:
    """The example of a job has all that the recording reconciliation has, but its own variables."""
    assert len(example_of_a_job().splitlines()) <= 40
    assert example["Parameters"].keys() - template()["Parameters"] == {"AuditSchedule"}
    for part in ("Logs", "Role", "Job"):
        made = example["Resources"][f"RecordingAuditor{part}"]
        assert as_reconciliation(made) == template()["Resources"][f"RecordingReconciler{part}"]
    function = as_reconciliation(example["Resources"]["RecordingAuditor"])["Properties"]
    known = properties("RecordingReconciler")
    assert {each for each in known if function.get(each) != known[each]} <= {
        "Description",
        "Environment",
    }
    variables = known["Environment"]["Variables"]
    assert function["Environment"]["Variables"].items() <= variables.items()


# --- what never gets into a log -------------------------------------------------------------------


def test_access_logs_have_the_callers_address_but_not_the_path_with_its_token() -> None:
    logged = properties("HttpApiStage")["AccessLogSettings"]["Format"]
    fields = set(re.findall(r"\$context\.([\w.]+)", logged))
    assert fields >= {"routeKey", "identity.sourceIp"}
    assert fields.isdisjoint({"path", "authorizer.error"})
    assert json.loads(logged).keys() >= {"requestId", "status"}


def test_the_access_logs_group_needs_no_resource_policy_and_has_a_name_of_its_own() -> None:
    # "Enabling logging from AWS services" in the CloudWatch Logs guide: groups elsewhere are added
    # to a resource policy, which holds 5,120 characters. A group left behind keeps its name.
    name, variables = properties("HttpApiAccessLogs")["LogGroupName"]["Sub"]
    assert name.startswith("/aws/vendedlogs/${AWS::StackName}/")
    assert name.endswith("/${UniqueId}")
    stack_id = {"Split": ["/", {"Ref": "AWS::StackId"}]}
    assert variables == {"UniqueId": {"Select": [2, stack_id]}}


# --- traces ---------------------------------------------------------------------------------------


def test_nothing_is_traced_unless_the_operator_asks_for_it() -> None:
    assert template()["Parameters"]["Tracing"]["Default"] == "PassThrough"
    assert template()["Globals"]["Function"]["Tracing"] == {"Ref": "Tracing"}
    assert not [name for name in FUNCTIONS if "Tracing" in properties(name)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_caller_cannot_have_its_requests_traced_by_a_header(name: str) -> None:
    # With PassThrough, too, Lambda traces a request whose header says Sampled=1 ("TracingConfig"
    # in its API reference): only the lack of the permission keeps it from that.
    policies = properties(role_of(name))["Policies"]
    statements = [each for policy in policies for each in policy["PolicyDocument"]["Statement"]]
    tracing = [each for each in statements if "xray:" in str(each)]
    assert [each["If"][0] for each in tracing] == ["TracesRequests"]
    assert [each["If"][2] for each in tracing] == [{"Ref": "AWS::NoValue"}]
    assert template()["Conditions"]["TracesRequests"] == {"Equals": [{"Ref": "Tracing"}, "Active"]}


def test_lambda_writes_no_lines_of_its_own_for_each_refused_callback() -> None:
    # "Log-level filtering" in the Lambda guide: INFO for start and report, WARN for errors.
    logging = properties("CallbackIntake")["LoggingConfig"]
    assert (logging["LogFormat"], logging["SystemLogLevel"]) == ("JSON", "WARN")


@pytest.mark.parametrize("name", resources("AWS::SecretsManager::Secret"))
def test_the_template_holds_no_secret(name: str) -> None:
    secret = properties(name)
    made = secret.get("GenerateSecretString", {}).get("SecretStringTemplate")
    content = json.loads(secret.get("SecretString", made))
    assert not any(content.values())
