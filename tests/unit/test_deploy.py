"""The parameters of `make deploy`: given, asked for and passed to the SAM CLI."""

import io
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from operations import build, deploy, regions, sam
from operations.arguments import words
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
    assert "choose ENV=default or ENV=prod" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        ("staging", "", "no section .staging.deploy.parameters.. Choose ENV= from default, prod"),
        ("own", "[own.deploy]", "no section .own.deploy.parameters."),
        ("own", "[own.deploy.parameters", "not valid TOML: .*line"),
        ("own", "[own.deploy.parameters]\nstack_name = 'x'", "stack_name must be roomkeeper-own"),
    ],
)
def test_an_environment_that_is_missing_or_invalid_is_rejected_with_what_to_do(
    name: str, written: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = (ROOT / "samconfig.toml").read_text()
    (tmp_path / "samconfig.toml").write_text(f"{ours}\n{written}\n")
    monkeypatch.setattr(sam, "ROOT", tmp_path)
    with pytest.raises(sam.InvalidEnvironment, match=expected):
        sam.environment(name)


def test_an_environments_stack_name_can_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "samconfig.toml").write_text("[own.deploy.parameters]\n")
    monkeypatch.setattr(sam, "ROOT", tmp_path)
    assert sam.environment("own").stack_name == "roomkeeper-own"


@pytest.mark.parametrize(
    "written",
    [
        """["CleanupDryRun=true", "CleanupSchedule=rate(6 hours)"]""",
        """['CleanupDryRun="true"', 'CleanupSchedule="rate(6 hours)"']""",
        r'''"CleanupDryRun=\"true\" CleanupSchedule=\"rate(6 hours)\""''',  # as --guided writes it
    ],
)
def test_an_environments_parameters_are_read_in_each_form_that_the_sam_cli_takes(
    written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sam, "ROOT", tmp_path)
    (tmp_path / "samconfig.toml").write_text(
        f"[own.deploy.parameters]\nparameter_overrides = {written}\n"
    )
    assert sam.environment("own").parameters == {
        "CleanupDryRun": "true",
        "CleanupSchedule": "rate(6 hours)",
    }


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("ClenupDryRun=true", "environment own: .*Did you mean CleanupDryRun"),
        ("CleanupDryRun=yes", "environment own: CleanupDryRun must be one of true, false"),
    ],
)
def test_an_environments_invalid_parameter_is_rejected_before_the_build(
    pair: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The SAM CLI passes only the parameters that the template has (deploy_context.py)."""
    monkeypatch.setattr(sam, "ROOT", tmp_path)
    (tmp_path / "samconfig.toml").write_text(
        f"[own.deploy.parameters]\nparameter_overrides = ['{pair}']\n"
    )
    monkeypatch.setattr("sys.argv", ["deploy", "--environment", "own"])
    assert deploy.main() == 2
    assert re.search(expected, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("AlarmMail=a@b.example", "Did you mean AlarmEmail"),
        ("AlarmEmail", "write Name=value"),
        ("AlarmEmail=nobody", "must be empty or an e-mail address"),
        ("LogRetentionDays=2", "must be one of 1, 3, 5"),
        ("EventRetentionDays=1", "must be a whole number from 8 to 3650"),
        ("EventRetentionDays=-9", "must be a whole number from 8 to 3650"),
        ("EventRetentionDays=ten", "must be a whole number"),
        ("EventArchiveRetentionDays=00", "must be a whole number"),
    ],
)
def test_an_invalid_parameter_is_rejected_before_the_build(pair: str, expected: str) -> None:
    with pytest.raises(deploy.Unusable, match=expected):
        deploy.given([pair])


def test_parameters_are_separated_and_quoted_as_in_a_shell() -> None:
    assert words("""A=1 B="rate(6 hours)" C= D='x y'""") == [
        "A=1",
        "B=rate(6 hours)",
        "C=",
        "D=x y",
    ]


def test_a_quotation_mark_in_a_value_is_escaped_for_sam() -> None:
    """Without that, the SAM CLI would deploy `{` (samcli/cli/types.py)."""
    command = sam.command("deploy", {"RoomExtensionKeepMarker": '{"keep":true}'})
    assert r'RoomExtensionKeepMarker="{\"keep\":true}"' in command


@pytest.mark.parametrize("value", [r"a\b", "a\\", r"a\"b"])
def test_a_backslash_is_refused_because_sam_reads_it_as_an_escape(value: str) -> None:
    with pytest.raises(deploy.Unusable, match="must not contain a backslash"):
        deploy.given([f"RoomExtensionKeepMarker={value}"])


def test_a_value_with_blanks_stays_one_for_sam() -> None:
    command = sam.command("deploy", {"CleanupSchedule": "rate(2 hours)"})
    assert 'CleanupSchedule="rate(2 hours)"' in command


def test_a_first_deployment_asks_until_the_value_is_valid(
    capsys: pytest.CaptureFixture[str],
) -> None:
    products = {"Products": "meetings"}
    answers = deploy.answers(products, typed("https://vonage.example/v1", "true", "often", "7", ""))

    assert answers == {
        "VonageBaseUrl": "https://vonage.example/v1",
        "CopyRecordings": "true",
        "CleanupRetentionDays": "7",
        "AlarmEmail": "",
    }
    shown = capsys.readouterr().out
    assert "must be a whole number" in shown
    assert all(parameters()[name].description in shown for name in answers)


def test_video_is_recommended_with_the_reason_and_needs_no_url_of_meetings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers = deploy.answers({}, typed("all", "", "", "7", ""))

    assert answers == {
        "Products": "video",
        "CopyRecordings": "false",
        "CleanupRetentionDays": "7",
        "AlarmEmail": "",
    }
    shown = capsys.readouterr().out
    assert "Products must be one of meetings, video, both" in shown
    assert "Recommended: video. Vonage ended the Meetings API on 30 June 2025." in shown


@pytest.mark.parametrize("chosen", ["meetings", "both"])
def test_another_choice_asks_for_the_url_of_meetings(chosen: str) -> None:
    answers = deploy.answers({}, typed(chosen, "", "", "", ""))
    assert answers["Products"] == chosen
    assert answers["VonageBaseUrl"] == parameters()["VonageBaseUrl"].default


def test_a_given_parameter_is_not_asked_for() -> None:
    given = dict.fromkeys(deploy.ASKED, "given")
    assert deploy.answers(given, typed()) == {}


class AnAccount:
    """A fake stack with a state and an account."""

    def __init__(self, status: str | None, name: str = "roomkeeper-prod") -> None:
        self.name, self.status, self.region = name, status, "eu-central-1"
        self.parameters = {
            "SchemaRegistry": "true",
            "Architecture": "x86_64",
            "Runtime": "python3.12",
        }

    def exists(self) -> bool:
        return self.status is not None

    def require_roomkeepers(self) -> None:
        pass

    def account_and_region(self) -> str:
        return "account 123456789012, region eu-central-1"


class Runs:
    """Records builds and commands; commands in `failing` fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *stacks: AnAccount) -> None:
        self.built: list[Target] = []
        self.commands: list[list[str]] = []
        self.failing: set[str] = set()
        self.regions: list[tuple[str, str]] = []
        """The checked regions, and whether a schema registry is deployed."""
        looked_up = iter(stacks)
        monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
        monkeypatch.setattr(deploy, "Stack", lambda _name: next(looked_up))
        monkeypatch.setattr(deploy, "build", self._build)
        monkeypatch.setattr(deploy, "_run", self._run)
        monkeypatch.setattr(regions, "why_not", self._check)
        monkeypatch.setattr("sys.stdin", io.StringIO())  # nobody at the keyboard

    def _build(self, wanted: Target, _run: Callable[[list[str]], int]) -> Path:
        if "build" in self.failing:
            raise BuildFailed("The layer is not built: Hash mismatch")
        self.built.append(wanted)
        return Path("template.yaml")

    def _run(self, command: list[str]) -> int:
        self.commands.append(command)
        return int(command[1] in self.failing)

    def _check(self, region: str, values: Mapping[str, str]) -> str | None:
        self.regions.append((region, values["SchemaRegistry"]))
        return "It has no such thing." if region in self.failing else None


@pytest.fixture(autouse=True)
def prod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The default command line of the tests, and a build of their own, which nothing else locks."""
    monkeypatch.setattr("sys.argv", ["deploy", "--environment", "prod"])
    monkeypatch.setattr(build, "FUNCTIONS", tmp_path / "build/sam")


def test_a_later_deployment_builds_and_deploys_for_the_stacks_processor_and_runtime(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = Runs(monkeypatch, AnAccount("UPDATE_COMPLETE"))
    monkeypatch.setattr("sys.argv", ["deploy", "--parameters", "LogRetentionDays=14"])
    assert deploy.main() == 0
    [command] = runs.commands
    assert runs.built == [Target("python3.12", "x86_64")]
    assert {'Architecture="x86_64"', 'Runtime="python3.12"', 'LogRetentionDays="14"'} <= {*command}


def test_a_processor_that_is_given_is_built_for_and_deployed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = Runs(monkeypatch, AnAccount("UPDATE_COMPLETE"))
    monkeypatch.setattr("sys.argv", ["deploy", "--parameters", "Architecture=arm64"])
    assert deploy.main() == 0
    assert runs.built == [Target("python3.12", "arm64")]
    assert 'Architecture="arm64"' in runs.commands[0]


@pytest.mark.parametrize("before", [None, "ROLLBACK_COMPLETE"])
def test_a_new_stack_gets_the_templates_processor_and_runtime(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a stack whose first creation failed: its parameters are deleted with it."""
    runs = Runs(monkeypatch, AnAccount(before), AnAccount("CREATE_COMPLETE"))
    monkeypatch.setattr(deploy, "require_deletable", lambda _stack: None)
    monkeypatch.setattr(deploy, "_delete_remains", lambda _stack: None)
    assert deploy.main() == 0
    assert runs.built == [
        Target(parameters()["Runtime"].default, parameters()["Architecture"].default)
    ]


def test_a_build_alone_asks_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs(monkeypatch)
    monkeypatch.setattr(
        "sys.argv", ["deploy", "--only-build", "--parameters", "Runtime=python3.11"]
    )
    assert deploy.main() == 0
    assert runs.built == [Target("python3.11", parameters()["Architecture"].default)]
    assert not runs.commands


def test_nothing_is_deployed_that_could_not_be_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = Runs(monkeypatch, AnAccount("UPDATE_COMPLETE"))
    runs.failing = {"build"}
    assert deploy.main() == 1
    assert not runs.commands
    assert "Hash mismatch" in capsys.readouterr().err


def test_a_first_deployment_prints_its_account_and_the_next_steps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = Runs(monkeypatch, AnAccount(None), AnAccount("CREATE_COMPLETE"))
    monkeypatch.setattr("sys.argv", ["deploy", "--environment", "prod", "--arguments=--debug"])

    assert deploy.main() == 0

    shown = capsys.readouterr().out
    [command] = runs.commands
    assert command[1] == "deploy"
    assert {"--debug", 'CleanupDryRun="false"'} <= set(command)
    assert "The first deployment of stack roomkeeper-prod into account 123456789012" in shown
    assert "make configure PRODUCT=meetings STACK=roomkeeper-prod" in shown
    assert "make configure PRODUCT=video STACK=roomkeeper-prod" in shown
    assert "make smoke STACK=roomkeeper-prod" in shown


def test_a_later_deployment_asks_and_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = Runs(monkeypatch, AnAccount("UPDATE_COMPLETE"))

    assert deploy.main() == 0

    assert [command[1] for command in runs.commands] == ["deploy"]
    assert capsys.readouterr().out == ""


def test_after_a_declined_change_set_no_next_steps_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Runs(monkeypatch, AnAccount(None), AnAccount(None))
    assert deploy.main() == 0
    assert "make configure" not in capsys.readouterr().out


def test_a_failed_first_deployment_prints_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Runs(monkeypatch, AnAccount(None)).failing = {"deploy"}
    assert deploy.main() == 1
    assert "run make deploy again" in capsys.readouterr().out


def test_sam_deploys_into_the_region_where_the_stack_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = Runs(monkeypatch, AnAccount("UPDATE_COMPLETE"))
    deploy.main()
    [command] = runs.commands
    assert command[command.index("--region") + 1] == "eu-central-1"


def test_the_target_region_is_checked_for_what_is_deployed_before_it_is_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = Runs(monkeypatch, AnAccount("UPDATE_COMPLETE"), AnAccount(None))
    runs.failing = {"eu-central-1"}

    assert deploy.main() == 1
    assert capsys.readouterr().err == "It has no such thing.\n"
    assert deploy.main() == 1

    assert (runs.built, runs.commands) == ([], [])
    # The stack keeps what it was given; a first deployment takes the template's default.
    assert runs.regions == [("eu-central-1", "true"), ("eu-central-1", "false")]


EMERGENCY = {"CleanupDryRun": "true", "LogRetentionDays": "90", "EventArchiveRetentionDays": "90"}
"""The parameter that an operator of prod set by hand to stop deletions."""


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Run against a stack of prod on which an operator has stopped deletions."""
    stack = AnAccount("UPDATE_COMPLETE")
    stack.parameters |= EMERGENCY
    return Runs(monkeypatch, stack)


def test_a_value_of_the_stack_is_not_overridden_without_a_question(
    stopped: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy.main() == 1
    shown = capsys.readouterr().out
    assert "CleanupDryRun: true -> false" in shown
    assert """make deploy ENV=prod PARAMETERS='CleanupDryRun="true"'""" in shown
    assert "LogRetentionDays" not in shown
    assert (stopped.built, stopped.commands) == ([], [])


def test_the_suggested_commands_have_the_parameters_that_were_given(
    stopped: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--environment=prod", "--parameters=SessionRetentionDays=500"]
    monkeypatch.setattr("sys.argv", ["deploy", *arguments])
    assert deploy.main() == 1
    shown = capsys.readouterr().out
    for command in (
        """ENV=prod PARAMETERS='SessionRetentionDays="500" CleanupDryRun="true"'""",
        """ENV=prod PARAMETERS='SessionRetentionDays="500"' CONFIRM=roomkeeper-prod""",
    ):
        assert command in shown


@pytest.mark.parametrize(("reply", "deploys"), [("yes", True), ("n", False), ("", False)])
def test_the_operator_decides_whether_a_value_of_the_stack_is_overridden(
    reply: str, deploys: bool, stopped: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _prompt: reply)
    assert deploy.main() == (0 if deploys else 1)
    assert bool(stopped.commands) == deploys


@pytest.mark.parametrize(
    ("arguments", "dry_run"),
    [
        (["--confirm", "roomkeeper-prod"], "false"),
        (["--parameters", "CleanupDryRun=true"], "true"),
        (["--parameters", "CleanupDryRun=false"], "false"),
    ],
)
def test_a_value_that_is_confirmed_or_given_by_hand_needs_no_question(
    arguments: list[str], dry_run: str, stopped: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["deploy", "--environment", "prod", *arguments])
    assert deploy.main() == 0
    assert f'CleanupDryRun="{dry_run}"' in stopped.commands[0]


def test_the_confirmation_of_another_stack_is_ignored(
    stopped: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["deploy", "--environment", "prod", "--confirm", "roomkeeper"])
    assert deploy.main() == 1
    assert not stopped.commands


def test_a_value_that_contradicts_the_stacks_own_parameters_is_refused_before_the_build(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = AnAccount("UPDATE_COMPLETE")
    stack.parameters |= {"RoomExtensionToDays": "10"}
    runs = Runs(monkeypatch, stack)
    monkeypatch.setattr("sys.argv", ["deploy", "--parameters", "RoomExtensionWithinDays=10"])
    assert deploy.main() == 2
    assert (
        "Set RoomExtensionWithinDays from 1 to 9 or RoomExtensionToDays from 11 to 1825"
        in capsys.readouterr().err
    )
    assert (runs.built, runs.commands) == ([], [])


def test_the_sam_cli_gets_the_region_of_the_operator_commands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, str] = {}

    def call(_arguments: list[str], *, cwd: object, env: dict[str, str]) -> int:
        seen.update(env)
        return 0

    monkeypatch.setattr("subprocess.call", call)
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    deploy._run(["sam"])
    assert seen["AWS_DEFAULT_REGION"] == "eu-north-1"
