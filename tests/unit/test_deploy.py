"""What a deployment is given, asks for and passes on."""

import io
import tomllib
from collections.abc import Iterator

import pytest

from operations import bytecode, deploy, sam
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

    def __init__(self, name: str, *, there: bool) -> None:
        self.name, self._there = name, there

    def exists(self) -> bool:
        return self._there

    def whereabouts(self) -> str:
        return "account 123456789012, region eu-west-1"


@pytest.mark.parametrize("there", [False, True])
def test_a_first_deployment_says_where_it_goes_and_what_comes_next(
    there: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []

    def note(command: list[str]) -> int:
        commands.append(command)
        return 0

    monkeypatch.setattr(deploy, "Stack", lambda name: AnAccount(name, there=there))
    monkeypatch.setattr(deploy, "_run", note)
    monkeypatch.setattr(bytecode, "compile_built", lambda _folder: None)
    monkeypatch.setattr("sys.argv", ["deploy", "--environment", "prod", "--arguments", "--debug"])
    monkeypatch.setattr("sys.stdin", io.StringIO())  # nobody at the keyboard

    assert deploy.main() == 0

    shown = capsys.readouterr().out
    assert [command[1] for command in commands] == ["build", "deploy"]
    assert "--debug" in commands[1]
    assert 'CleanupDryRun="false"' in commands[1]
    assert ("account 123456789012" in shown) is not there
    assert ("make configure STACK=roomkeeper-prod" in shown) is not there
