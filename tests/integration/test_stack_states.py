"""Every operator command works in every state of the stack, or prints one sentence."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import boto3
import pytest

from operations import configure, deploy
from operations.stack import Stack, StackError
from tests.integration.operator_support import (
    COMMANDS,
    COMPLETE,
    CREATING,
    FAILED_CREATION,
    OTHERS,
    PARAMETERS,
    PRINTS,
    TOKEN,
    UPDATING,
    USERS,
    Account,
    Operator,
    Put,
    a_stack,
    make_resources,
    only_moto,
    putting,
)
from tests.support.cloudformation import NAME, CloudFormation


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    """An account with the resources of a stack, created by moto."""
    with only_moto():
        yield make_resources()


@pytest.fixture
def given(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """Set the state of the account's stack."""
    with putting(monkeypatch) as put:
        yield put


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(monkeypatch, capsys)


WORKS = (0, "")
WAIT = (1, "wait until it has finished")
START_OVER = (1, "run make deploy, which deletes the remains and starts over")
HALF_DELETED = (1, "run make destroy to delete the rest, then make deploy")
DELETED = (0, f"The stack {NAME} is deleted")

Expected = tuple[int, str]

TABLE: list[tuple[str | None, dict[str, Expected]]] = [
    (
        None,
        {
            "deploy": (0, "The first deployment"),
            "destroy": (0, f"There is no stack {NAME}"),
            "others": (1, f"The stack {NAME} does not exist: deploy it (make deploy)"),
        },
    ),
    (
        "REVIEW_IN_PROGRESS",
        {
            "deploy": (0, "The first deployment"),
            "destroy": DELETED,
            "others": (1, f"The stack {NAME} does not exist: deploy it (make deploy)"),
        },
    ),
    *((state, {"deploy": WAIT, "destroy": WAIT, "others": WAIT}) for state in CREATING),
    *((state, {"deploy": WAIT, "destroy": WAIT, "others": WORKS}) for state in UPDATING),
    ("DELETE_IN_PROGRESS", {"deploy": WAIT, "destroy": DELETED, "others": WAIT}),
    *(
        (
            state,
            {
                "deploy": (0, f"its state is {state}"),
                "destroy": DELETED,
                "others": START_OVER,
            },
        )
        for state in FAILED_CREATION
    ),
    *((state, {"deploy": WORKS, "destroy": DELETED, "others": WORKS}) for state in COMPLETE),
    (
        "UPDATE_ROLLBACK_FAILED",
        {
            "deploy": (1, f"continue-update-rollback --stack-name {NAME}"),
            "destroy": DELETED,
            "others": WORKS,
        },
    ),
    (
        "UPDATE_FAILED",
        {
            "deploy": (1, f"rollback-stack --stack-name {NAME}"),
            "destroy": DELETED,
            "others": WORKS,
        },
    ),
    ("DELETE_FAILED", {"deploy": HALF_DELETED, "destroy": DELETED, "others": HALF_DELETED}),
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("status", "expected"), TABLE, ids=[str(state) for state, _ in TABLE])
def test_a_command_works_or_prints_what_to_do(
    status: str | None,
    expected: dict[str, Expected],
    command: str,
    account: Account,
    given: Put,
    operator: Operator,
) -> None:
    formation = a_stack(account, status)
    given(formation)

    ran = operator.run(command)

    code, sentence = expected.get(command, expected["others"] if command in USERS else WORKS)
    assert (ran.code, "Traceback" in ran.text) == (code, False), ran.text
    assert sentence in ran.text
    if (code, command in USERS) == (0, True):
        assert PRINTS[command] in ran.text
    if command == "deploy":
        assert ran.sam == ([] if code else ["build", "deploy"])
        assert ("DeleteStack" in formation.calls) is (status in FAILED_CREATION)
    elif command != "destroy" or code or status is None:
        assert "DeleteStack" not in formation.calls
    if code:
        assert len(ran.text.strip().splitlines()) == 1


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("outputs", [{}, {"TableName": "the-table", "Url": "https://x.example"}])
def test_a_stack_of_another_application_is_not_touched(
    outputs: dict[str, str],
    command: str,
    account: Account,
    given: Put,
    operator: Operator,
) -> None:
    formation = a_stack(account, "CREATE_COMPLETE", outputs=outputs, parameters=OTHERS)
    given(formation)

    ran = operator.run(command)

    assert (ran.code, ran.sam) == (1, [])
    assert f"The stack {NAME} belongs to another application: choose Roomkeeper's stack" in ran.text
    assert "DeleteStack" not in formation.calls


@pytest.mark.parametrize("status", ["IMPORT_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"])
def test_a_stack_into_which_a_kept_table_was_imported_is_deployed(
    status: str, account: Account, given: Put, operator: Operator
) -> None:
    """As docs/upgrading.md describes, also after the first such deployment failed."""
    [table] = [each for each in account.resources if each[0] == "AWS::DynamoDB::Table"]
    given(CloudFormation(status, resources=[table]))

    ran = operator.run("deploy")

    assert (ran.code, ran.sam) == (0, ["build", "deploy"]), ran.text


def test_a_stack_without_parameters_but_with_more_than_a_table_is_not_deployed(
    account: Account, given: Put, operator: Operator
) -> None:
    given(CloudFormation("CREATE_COMPLETE", resources=account.resources))

    ran = operator.run("deploy")

    assert (ran.code, ran.sam) == (1, [])
    assert "belongs to another application" in ran.text


@pytest.mark.parametrize("command", USERS)
def test_a_stack_of_an_older_version_lacks_an_output_and_is_named(
    command: str, account: Account, given: Put, operator: Operator
) -> None:
    given(a_stack(account, "UPDATE_COMPLETE", outputs={}))

    ran = operator.run(command)

    assert ran.code == 1
    assert "or another version of Roomkeeper" in ran.text
    assert "update it with make deploy" in ran.text


# --- deploying after a failed creation ------------------------------------------------------------


def test_the_remains_are_deleted_before_anything_is_deployed_and_after_it_is_built(
    account: Account,
    given: Put,
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    formation = a_stack(account, "ROLLBACK_COMPLETE")
    given(formation)
    order: list[str] = []

    def note(arguments: list[str], **_options: bool) -> int:
        order.append(f"{arguments[1]} in {formation.status}")
        return 0

    monkeypatch.setattr(deploy, "_run", note)

    operator.run("deploy")

    assert order == ["build in ROLLBACK_COMPLETE", "deploy in DELETE_COMPLETE"]


def test_a_table_that_aws_keeps_of_a_creation_without_rollback_is_named(
    account: Account, given: Put, operator: Operator
) -> None:
    given(a_stack(account, "CREATE_FAILED"))
    [table] = [name for kind, name, _ in account.resources if kind == "AWS::DynamoDB::Table"]

    ran = operator.run("deploy")

    assert f"Kept, with its data, and still billed: the table {table}\n" in ran.text


@pytest.mark.parametrize(("answer", "goes_on"), [("y", True), ("", False), ("no", False)])
def test_on_a_terminal_the_deletion_of_remains_is_confirmed_first(
    answer: str,
    goes_on: bool,
    account: Account,
    given: Put,
    operator: Operator,
) -> None:
    formation = a_stack(account, "ROLLBACK_FAILED")
    given(formation)
    operator.types(answer, *([""] * len(deploy.ASKED)))

    ran = operator.run("deploy")

    assert ("DeleteStack" in formation.calls) is goes_on
    assert ran.sam == (["build", "deploy"] if goes_on else [])
    assert ("Nothing was deleted or deployed." in ran.text) is not goes_on


def test_a_parameter_that_another_version_does_not_have_is_named(
    account: Account, given: Put
) -> None:
    given(a_stack(account, "UPDATE_COMPLETE", parameters={"CleanupRetentionDays": "30"}))
    api = {"api_key": "a-key", "api_secret": "a-secret"}

    with pytest.raises(StackError, match=r"or another version.*no parameter VonageBaseUrl"):
        configure.configure(Stack(NAME), "meetings", api)


@contextmanager
def callback_secret(account: Account, content: str) -> Iterator[None]:
    """Give the secret this content until the end of the context."""
    manager, name = boto3.client("secretsmanager"), account.outputs["CallbackSecretArn"]
    before = manager.get_secret_value(SecretId=name)["SecretString"]
    manager.put_secret_value(SecretId=name, SecretString=content)
    try:
        yield
    finally:
        manager.put_secret_value(SecretId=name, SecretString=before)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"signature_secret": ""}', "has no token"),
        ('["a-token"]', "is not a JSON object"),
        ("a-token", "is not a JSON object"),
    ],
)
def test_a_callback_secret_without_a_token_is_named_and_not_quoted(
    content: str, sentence: str, account: Account, given: Put, operator: Operator
) -> None:
    given(a_stack(account, "UPDATE_COMPLETE"))

    with callback_secret(account, content):
        ran = operator.run("callback-url")

    assert ran.code == 1
    assert sentence in ran.text
    assert "a-token" not in ran.text


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f" {TOKEN}\r\n"])
def test_the_url_has_the_token_without_white_space_as_the_functions_read_it(
    token: str, account: Account, given: Put, operator: Operator
) -> None:
    given(a_stack(account, "UPDATE_COMPLETE"))

    with callback_secret(account, json.dumps({"token": token})):
        ran = operator.run("callback-url")

    assert ran.code == 0
    assert ran.text.splitlines()[0].endswith(f"/callbacks/{TOKEN}")


@pytest.mark.parametrize(
    ("accepted", "code", "sentence"),
    [
        ("token-or-signature", 0, "https://an-api.execute-api.eu-west-1.amazonaws.com/callbacks"),
        ("signature", 0, "https://an-api.execute-api.eu-west-1.amazonaws.com/callbacks"),
        ("token", 1, "has no token: store one with make configure"),
    ],
)
def test_the_url_has_no_token_if_it_was_removed_and_a_signature_is_enough(
    accepted: str, code: int, sentence: str, account: Account, given: Put, operator: Operator
) -> None:
    parameters = PARAMETERS | {"CallbackAcceptedCredentials": accepted}
    given(a_stack(account, "UPDATE_COMPLETE", parameters=parameters))

    with callback_secret(account, json.dumps({"token": "", "signature_secret": "s" * 32})):
        ran = operator.run("callback-url")

    assert ran.code == code
    assert sentence in ran.text
    assert "callbacks/" not in ran.text


def test_a_deployment_without_rollback_continues_a_failed_one(
    account: Account, given: Put, operator: Operator
) -> None:
    given(a_stack(account, "UPDATE_FAILED"))

    ran = operator.run("deploy", "--arguments=--disable-rollback")

    assert (ran.code, ran.sam) == (0, ["build", "deploy"])


@pytest.mark.parametrize(
    "option",
    [
        *("--region=us-east-1", "--profile", "--stack-name"),
        *("--config-env=prod", "--parameter-overrides", "--guided", "-g"),
    ],
)
def test_sam_is_given_no_other_place_or_parameters_than_those_that_are_checked(
    option: str, account: Account, given: Put, operator: Operator
) -> None:
    given(a_stack(account, None))

    ran = operator.run("deploy", f"--arguments={option}")

    assert (ran.code, ran.sam) == (2, [])
    assert "is not allowed in ARGS=" in ran.text


# --- no account, nobody at the keyboard -----------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"AWS_DEFAULT_REGION": None}, "No AWS region is set: set AWS_REGION"),
        ({"AWS_PROFILE": "typo"}, "set AWS_PROFILE to an existing profile (none)"),
        (
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            "No AWS credentials were found",
        ),
    ],
)
def test_without_an_account_a_command_says_what_to_set(
    variables: Mapping[str, str | None],
    sentence: str,
    command: str,
    account: Account,
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: object,
) -> None:
    nothing = {
        "AWS_CONFIG_FILE": f"{tmp_path}/none",
        "AWS_SHARED_CREDENTIALS_FILE": f"{tmp_path}/none",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in {**nothing, **variables}.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)

    ran = operator.run(command)

    assert (ran.code, ran.sam) == (1, [])
    assert sentence in ran.text
    assert len(ran.text.strip().splitlines()) == 1


@pytest.mark.parametrize("key", [KeyboardInterrupt(), EOFError()], ids=["ctrl-c", "ctrl-d"])
@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("deploy", None),
        ("deploy", "ROLLBACK_COMPLETE"),
        ("destroy", "CREATE_COMPLETE"),
        ("configure", "CREATE_COMPLETE"),
    ],
)
def test_a_key_that_ends_a_prompt_ends_the_command_with_a_sentence(
    command: str,
    status: str | None,
    key: BaseException,
    account: Account,
    given: Put,
    operator: Operator,
) -> None:
    formation = a_stack(account, status)
    given(formation)
    operator.types(key)

    ran = operator.run(command, *(["--confirm="] if command == "destroy" else []))

    assert ran.code == (130 if isinstance(key, KeyboardInterrupt) else 1)
    assert ("Interrupted" if ran.code == 130 else "The input ended") in ran.text
    assert ran.sam == []
    assert "DeleteStack" not in formation.calls
