"""Builds what is deployed: the layer by hash for its target, the functions by the SAM CLI.

The layer's wheels are those of requirements/layer.txt, for the processor and the Python that the
stack has or gets, and neither those of this machine nor the template's defaults.
"""

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from msgspec import Struct

from operations import bytecode, sam
from operations.template import ROOT, parameters

LOCK = ROOT / "requirements/layer.txt"
LAYER = ROOT / "build/layer"
"""The layer as it is packed; template.yaml's ContentUri."""

FUNCTIONS = ROOT / "build/sam"
"""The functions and the template as `sam build` leaves them."""

UV = sam.TOOLS / "uv/bin/uv"

_PLATFORMS = {"arm64": "aarch64-manylinux2014", "x86_64": "x86_64-manylinux2014"}
"""Wheels that run on each of Lambda's operating systems. The oldest, Amazon Linux 2, has glibc
2.26; manylinux2014 (PEP 599) asks for 2.17. Source: "Lambda runtimes" in the Lambda guide."""


class BuildFailed(Exception):
    """What was to be built is not; the message says why, and what to do."""


class Target(Struct, frozen=True):
    """What the functions run on.

    `is_local` where that is this machine, on the local AWS: on macOS the wheels are then macOS's.
    """

    runtime: str
    architecture: str
    is_local: bool = False

    @property
    def python(self) -> str:
        """The version of Python, such as `3.13`."""
        return self.runtime.removeprefix("python")

    @property
    def parameters(self) -> dict[str, str]:
        """The template's parameters that say so."""
        return {"Runtime": self.runtime, "Architecture": self.architecture}

    @property
    def platform(self) -> str | None:
        """The platform of its wheels as uv names it; None for this machine's own."""
        if self.is_local and platform.libc_ver()[0] != "glibc":
            return None
        return _PLATFORMS[self.architecture]


def target(remembered: Mapping[str, str], chosen: Mapping[str, str]) -> Target:
    """Return what a stack runs on once it is deployed with the parameters that are `chosen`.

    A parameter that is not chosen stays as the stack `remembered` it, and has the template's
    default in a new stack. Source: "sam deploy" in the SAM guide, --parameter-overrides.
    """
    defaults = {name: each.default for name, each in parameters().items()}
    values = {**defaults, **remembered, **chosen}
    return Target(values["Runtime"], values["Architecture"])


def this_machine() -> Target:
    """Return what functions run on here: MiniStack runs them by the interpreter at hand."""
    is_arm = platform.machine() in ("aarch64", "arm64")
    return Target(_at_hand(), "arm64" if is_arm else "x86_64", is_local=True)


def build(wanted: Target, run: Callable[[list[str]], int]) -> Path:
    """Build layer, functions and template; return the template's path.

    `run` runs a command of the SAM CLI, shows what it prints, and returns its exit code.

    Raises:
        BuildFailed: the layer or the functions could not be built, or are not Python.
    """
    install_layer(wanted)
    # The functions are copied: they have no dependencies. SAM asks for their interpreter all the
    # same, so it is told the one at hand. The runtime that is deployed is sam deploy's parameter.
    if run(sam.command("build", {**wanted.parameters, "Runtime": _at_hand()})):
        raise BuildFailed("The functions are not built: sam build failed.")
    _compile(wanted)
    template = FUNCTIONS / "template.yaml"
    _pin(template, wanted)
    return template


def install_layer(wanted: Target, lock: Path = LOCK, folder: Path = LAYER) -> None:
    """Replace `folder` by the layer for a target: the package, and the wheels that it imports.

    Every wheel must have a hash that the lock names, and nothing is built from source.

    Raises:
        BuildFailed: a wheel is missing, or is not the one that was locked. `folder` is gone then.
    """
    shutil.rmtree(folder, ignore_errors=True)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    installed = unfinished / "python"
    command = [str(UV), "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"]
    command += ["--python", sys.executable, "--python-version", wanted.python]
    command += ["--python-platform", wanted.platform] if wanted.platform else []
    command += ["--target", str(installed), "--requirements", str(lock)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise BuildFailed(
            f"The layer for {wanted.runtime} on {wanted.architecture} is not built: "
            f"{lock.relative_to(ROOT) if lock.is_relative_to(ROOT) else lock} cannot be installed "
            f"as it is locked.\n{done.stderr.strip()}"
        )
    shutil.rmtree(
        installed / "bin", ignore_errors=True
    )  # commands, which name this machine's paths
    (installed / ".lock").unlink(missing_ok=True)  # uv's own
    package = ROOT / "layers/roomkeeper/roomkeeper"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, installed / "roomkeeper", ignore=ignored)
    unfinished.rename(folder)


def _at_hand() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def _compile(wanted: Target) -> None:
    """Compile layer and functions by the target's Python, where this machine has it."""
    python = _interpreter(wanted)
    if python is None:
        print(
            f"There is no Python {wanted.python} here to compile the functions with. They work "
            "without, but each cold start compiles them anew. Install it, and deploy again."
        )
        return
    parts = [LAYER, *sorted(path for path in FUNCTIONS.iterdir() if path.is_dir())]
    command = [python, "-I", bytecode.__file__, *map(str, parts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise BuildFailed(f"What was built cannot be compiled.\n{done.stdout}{done.stderr}".strip())


def _interpreter(wanted: Target) -> str | None:
    if wanted.runtime == _at_hand():
        return sys.executable
    find = [str(UV), "python", "find", "--no-project", "--no-python-downloads"]
    found = subprocess.run(  # noqa: S603
        [*find, f"cpython@{wanted.python}"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None


def _pin(template: Path, wanted: Target) -> None:
    """Have a built template take no other target than the one it was built for.

    CloudFormation then refuses a deployment that would run the layer on another processor.
    """
    built = yaml.safe_load(template.read_text())
    for name, value in wanted.parameters.items():
        built["Parameters"][name] |= {"Default": value, "AllowedValues": [value]}
    template.write_text(yaml.safe_dump(built, sort_keys=False))
