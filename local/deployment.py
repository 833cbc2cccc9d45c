"""Builds template.yaml and deploys it to the local AWS with the SAM CLI."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import yaml

from local import builds
from local.deployer import environment
from local.servers import BUILD, CREDENTIALS, PROJECT, REGION, LocalStackError, Server
from operations import sam
from operations.build import FUNCTIONS, BuildFailed, Target, exclusive, shared, this_machine
from operations.environment import bypass_proxies, without_account
from operations.stack import Stack

UNKNOWN_TO_MINISTACK = {
    "AWS::Events::Archive",
    "AWS::EventSchemas::Registry",
    "AWS::EventSchemas::Schema",
}

TEMPLATE = FUNCTIONS / "template.yaml"
"""The built template."""

Say = Callable[[str], None]


def build() -> Path:
    """Build functions and layers for this machine; return the built template's path.

    The last build is reused if it is up to date with the project's files.

    Raises:
        LocalStackError: the build failed; the message names the log file.
    """
    wanted, log = this_machine(), BUILD / "local/sam-build.log"
    if not builds.is_current(wanted):
        try:
            builds.make(wanted, lambda command: _run(command, log))
        except BuildFailed as exc:
            raise LocalStackError(str(exc)) from exc
    return TEMPLATE


@contextmanager
def _built(wanted: Target, say: Say) -> Iterator[Path]:
    """Yield the built template; nothing changes it within the context."""
    while True:
        with shared():
            if builds.is_current(wanted):
                yield TEMPLATE
                return
        with exclusive():
            say("Building functions and layers with the SAM CLI")
            build()


def deploy(
    aws: Server,
    deployer: boto3.Session,
    say: Say,
    parameters: Mapping[str, str] | None = None,
) -> Stack:
    """Build the template and deploy it to `aws` as the user `deployer`; return the stack.

    The parameters are those of samconfig.toml's environment `local`; `parameters` override them.

    Raises:
        LocalStackError: the build or deployment failed; the message names the log file.
    """
    local = sam.environment("local")
    wanted = this_machine()
    chosen = {**local.parameters, **wanted.parameters, **(parameters or {})}
    with _built(wanted, say) as built:
        written, out = _for_ministack(built)
        template = _with_packed_layers(written)
        say(f"Deploying template.yaml without what MiniStack does not support: {', '.join(out)}")
        options = ("--config-env", local.name, "--template-file", str(template))
        _run(
            sam.command("deploy", chosen, *options),
            Path(aws.log).with_name("sam-deploy.log"),
            {**environment(deployer.get_credentials()), "AWS_ENDPOINT_URL": aws.url},
        )
    return Stack(local.stack_name, local_session(), aws.url)


def local_session() -> boto3.Session:
    """Return an SDK session for the local AWS's root user."""
    return boto3.Session(
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )


def _for_ministack(built: Path) -> tuple[Path, list[str]]:
    """Write the built template and its nested ones without the resources that MiniStack rejects.

    Returns:
        The template's path, and the logical ids of the resources that were left out.
    """
    template: dict[str, Any] = yaml.load(built.read_text(), yaml.CSafeLoader)
    left_out = _leave_out_unknown(template)
    for name, resource in [*template["Resources"].items()]:
        properties = resource.get("Properties", {})
        for path in properties.keys() & {"CodeUri", "ContentUri"}:
            properties[path] = str(built.parent / properties[path])
        _inline_concurrency(template, properties)
        if resource["Type"] == "AWS::CloudFormation::Stack":
            text = (built.parent / properties["TemplateURL"]).read_text()
            nested = yaml.load(text, yaml.CSafeLoader)
            left_out_there = _leave_out_unknown(nested)
            properties["TemplateURL"] = str(_write(nested, f"template-local-{name}.yaml"))
            if nested["Resources"]:
                left_out += left_out_there
            else:
                del template["Resources"][name]
                left_out.append(name)
    return _write(template, "template-local.yaml"), left_out


def _with_packed_layers(template: Path) -> Path:
    """Write a template with the layers' zip files; return its path.

    The template itself has the layers' folders, which `make deploy ENV=local` builds anew.
    """
    packed = yaml.load(template.read_text(), yaml.CSafeLoader)
    for resource in packed["Resources"].values():
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            properties = resource["Properties"]
            properties["ContentUri"] = str(builds.packed(Path(properties["ContentUri"])))
    return _write(packed, "template-local-packed.yaml")


def _inline_concurrency(template: Mapping[str, Any], properties: Mapping[str, Any]) -> None:
    """Replace the maximum concurrency of a queue's event source with the parameter's default.

    MiniStack treats the value of a parameter as text, which it cannot compare with a number.
    """
    for event in properties.get("Events", {}).values():
        scaling = event["Properties"].get("ScalingConfig", {})
        if isinstance(limit := scaling.get("MaximumConcurrency"), dict):
            scaling["MaximumConcurrency"] = template["Parameters"][limit["Ref"]]["Default"]


def _leave_out_unknown(template: Mapping[str, Any]) -> list[str]:
    """Remove the resources that MiniStack rejects; return their logical ids."""
    resources = template["Resources"]
    left_out = [name for name, resource in resources.items() if _is_unknown(resource)]
    for name in left_out:
        del resources[name]
    return left_out


def _write(template: Mapping[str, Any], name: str) -> Path:
    """Write a template outside build/sam, which every build clears; return its path."""
    path = BUILD / name
    unfinished = BUILD / f"{name}.{os.getpid()}"  # others may be reading the old file
    unfinished.write_text(yaml.dump(template, Dumper=yaml.CSafeDumper, sort_keys=False))
    return unfinished.rename(path)


def _is_unknown(resource: Mapping[str, Any]) -> bool:
    """Return whether MiniStack rejects a resource: certain types, and alarms on metric math."""
    is_metric_math = (
        resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]
    )
    return is_metric_math or resource["Type"] in UNKNOWN_TO_MINISTACK


def _run(command: Sequence[str], log: Path, settings: Mapping[str, str] | None = None) -> int:
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w") as output,
        tempfile.TemporaryDirectory(prefix="sam-", dir=BUILD) as scratch,
    ):
        code = subprocess.call(  # noqa: S603 - our own command
            command,
            cwd=PROJECT,
            env={**_environment(), **(settings or {}), "TMPDIR": scratch},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    if code:
        raise LocalStackError(
            f"`sam {command[1]}` failed: {_last_error(log)} Its complete output is in {log}."
        )
    return code


def _environment() -> dict[str, str]:
    """Return the SAM CLI's environment without AWS settings, and without proxies to this host."""
    variables = without_account(sam.environ())
    bypass_proxies(variables)
    return variables


def _last_error(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "FAILED" in line]
    return (errors or lines or ["it printed nothing."])[-1].strip()
