"""What a deployment is given, asks for and passes on."""

import io
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from operations import deploy, sam
from operations.build import BuildFailed, Target
from operations.template import ROOT, parameters

ENVIRONMENTS = ("default", "prod", "local")


def typed(*lines: str) -> deploy.Ask:
    answers: Iterator[str] = iter(lines)
    return lambda _prompt: next(answers)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_sets_what_the_template_has(name: str) -> None:
    chosen = sam.environment(name).parameters
    assert deploy.given([f"{key}={value}" for key, value in chosen.items()]) == chosen


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environments_stack_is_named_as_make_names_it(name: str) -> None:
    suffix = "" if name == "default" else f"-{name}"
    assert sam.environment(name).stack_name == f"roomkeeper{suffix}"


def test_default_and_prod_differ_in_what_they_set_alone() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    default, prod = (config[name]["deploy"]["parameters"] for name in ("default", "prod"))
    own = {"stack_name", "parameter_overrides"}
    assert {k: v for k, v in default.items() if k not in own} == {
        k: v for k, v in prod.items() if k not in own
    }
    both = sam.environment("default").parameters, sam.environment("prod").parameters
    assert both[0].keys() == both[1].keys()


def test_the_local_environment_is_not_for_an_account(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr("sys.argv", ["deploy", "--environment", "local"])
    assert deploy.main() == 2
    assert "choose ENV=default or prod" in capsys.readouterr().err


def test_an_environment_that_is_none_is_named_with_those_there_are() -> None:
    with pytest.raises(sam.UnknownEnvironment, match=r"no environment staging.*default, prod"):
        sam.environment("staging")


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        ("AlarmMail=a@b.example", "Is AlarmEmail meant"),
        ("AlarmEmail", "set as Name=value"),
        ("AlarmEmail=nobody", "must be empty or an e-mail address"),
        ("LogDays=2", "must be one of 1, 3, 5"),
        ("EventDays=1", "must be from 8 to 3650"),
        ("EventDays=ten", "must be a whole number"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_before_anything_is_built(
    pair: str, told: str
) -> None:
    with pytest.raises(deploy.Unusable, match=told):
        deploy.given([pair])


def test_a_value_with_blanks_stays_one_for_sam() -> None:
    command = sam.command("deploy", {"CleanupSchedule": "rate(2 hours)"})
    assert 'CleanupSchedule="rate(2 hours)"' in command


def test_a_first_deployment_asks_until_the_answer_can_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = deploy.answers({}, typed("https://vonage.example/v1", "often", "7", ""))

    assert asked == {
        "VonageBaseUrl": "https://vonage.example/v1",
        "RecordingRetentionDays": "7",
        "AlarmEmail": "",
    }
    shown = capsys.readouterr().out
    assert "must be a whole number" in shown
    assert all(parameters()[name].description in shown for name in deploy.ASKED)


def test_what_was_given_is_not_asked_for() -> None:
    given = dict.fromkeys(deploy.ASKED, "given")
    assert deploy.answers(given, typed()) == {}


class AnAccount:
    """Stands in for the stack: there or not, in an account."""

    parameters: Mapping[str, str] = {"Architecture": "x86_64", "Runtime": "python3.12"}

    def __init__(self, name: str, *, there: bool) -> None:
        self.name, self._there = name, there

    def exists(self) -> bool:
        return self._there

    def whereabouts(self) -> str:
        return "account 123456789012, region eu-west-1"


class Runs:
    """What a deployment builds and which commands it runs, instead of building and running."""

    def __init__(self) -> None:
        self.built: list[Target] = []
        self.commands: list[list[str]] = []

    def build(self, wanted: Target, _run: Callable[[list[str]], int]) -> Path:
        self.built.append(wanted)
        return Path("template.yaml")

    def run(self, command: list[str]) -> int:
        self.commands.append(command)
        return 0


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    recorded = Runs()
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(deploy, "build", recorded.build)
    monkeypatch.setattr(deploy, "_run", recorded.run)
    monkeypatch.setattr("sys.stdin", io.StringIO())  # nobody at the keyboard
    return recorded


def deploy_with(monkeypatch: pytest.MonkeyPatch, *arguments: str, there: bool) -> int:
    monkeypatch.setattr(deploy, "Stack", lambda name: AnAccount(name, there=there))
    monkeypatch.setattr("sys.argv", ["deploy", *arguments])
    return deploy.main()


def test_a_later_deployment_builds_and_deploys_for_the_stacks_processor_and_runtime(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deploy_with(monkeypatch, "--parameters", "LogDays=14", there=True) == 0
    [command] = runs.commands
    assert runs.built == [Target("python3.12", "x86_64")]
    assert {'Architecture="x86_64"', 'Runtime="python3.12"', 'LogDays="14"'} <= {*command}


def test_a_processor_that_is_given_is_built_for_and_deployed(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deploy_with(monkeypatch, "--parameters", "Architecture=arm64", there=True) == 0
    assert runs.built == [Target("python3.12", "arm64")]
    assert 'Architecture="arm64"' in runs.commands[0]


def test_a_new_stack_gets_the_templates_processor_and_runtime(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deploy_with(monkeypatch, there=False) == 0
    assert runs.built == [
        Target(parameters()["Runtime"].default, parameters()["Architecture"].default)
    ]


def test_a_build_alone_asks_no_account(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "Stack", lambda _name: object())
    monkeypatch.setattr(
        "sys.argv", ["deploy", "--only-build", "--parameters", "Runtime=python3.11"]
    )
    assert deploy.main() == 0
    assert runs.built == [Target("python3.11", parameters()["Architecture"].default)]
    assert not runs.commands


def test_nothing_is_deployed_that_could_not_be_built(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> Path:
        raise BuildFailed("The layer is not built: Hash mismatch")

    monkeypatch.setattr(deploy, "build", fail)
    assert deploy_with(monkeypatch, there=True) == 1
    assert not runs.commands
    assert "Hash mismatch" in capsys.readouterr().err


@pytest.mark.parametrize("there", [False, True])
def test_a_first_deployment_says_where_it_goes_and_what_comes_next(
    there: bool,
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--environment", "prod", "--arguments", "--debug"]
    assert deploy_with(monkeypatch, *arguments, there=there) == 0

    shown = capsys.readouterr().out
    [command] = runs.commands
    assert command[1] == "deploy"
    assert "--debug" in command
    assert 'CleanupDryRun="false"' in command
    assert ("account 123456789012" in shown) is not there
    assert ("make configure STACK=roomkeeper-prod" in shown) is not there
