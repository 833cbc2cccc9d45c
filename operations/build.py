"""Builds the layers and the functions for the runtime and processor of the stack.

uv installs the wheels of each layer from its lock file, by hash, for the stack's Python and
processor, which may differ from this machine's. The SAM CLI builds the functions.
"""

import fcntl
import hashlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml
from msgspec import Struct

from operations import bytecode, sam
from operations.template import ROOT, parameters

PACKAGE = ROOT / "layers/roomkeeper/roomkeeper"
"""The code of all functions."""

FUNCTIONS = ROOT / "build/sam"
"""The folder that `sam build` writes the functions and the template into."""

MADE_FROM = ROOT / "build/made-from"
"""A file with a hash of the current build's sources; absent during a build (local/builds.py)."""

SOURCES = (
    *("template.yaml", "operations", "schemas/template.yaml", "functions", "layers/roomkeeper"),
    *("requirements", "samconfig.toml"),
)
"""The files and folders that a build depends on."""

UV = sam.TOOLS / "uv/bin/uv"

_PLATFORMS = {"arm64": "aarch64-manylinux2014", "x86_64": "x86_64-manylinux2014"}
"""Wheel platforms that run on each of Lambda's operating systems. The oldest, Amazon Linux 2, has
glibc 2.26; manylinux2014 (PEP 599) needs 2.17. Source: "Lambda runtimes" in the Lambda guide."""


class BuildFailed(Exception):
    """The build failed; the message says why, and what to do."""


class Layer(Struct, frozen=True):
    """A layer: the lock file of its wheels, and the folder that is its ContentUri in the template.

    `package` is put beside the wheels.
    """

    lock: Path
    folder: Path
    package: Path | None = None


LAYERS = (
    Layer(ROOT / "requirements/layer.txt", ROOT / "build/layer", PACKAGE),
    Layer(ROOT / "requirements/layer-for-intake.txt", ROOT / "build/layer-for-intake"),
    Layer(ROOT / "requirements/layer-for-vonage.txt", ROOT / "build/layer-for-vonage"),
)
"""The layer of all functions, that of the callback intake, and that of those that call Vonage."""


class Target(Struct, frozen=True):
    """The runtime and the processor architecture of the functions.

    `is_local` is True on the local AWS, which runs functions on this machine. On macOS the wheels
    are then for macOS.
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
        """The template's parameters that select this target."""
        return {"Runtime": self.runtime, "Architecture": self.architecture}

    @property
    def platform(self) -> str | None:
        """The platform of the wheels, as uv names it; None for this machine's own platform."""
        if self.is_local and platform.libc_ver()[0] != "glibc":
            return None
        return _PLATFORMS[self.architecture]


def target(remembered: Mapping[str, str], chosen: Mapping[str, str]) -> Target:
    """Return the target of a stack that is deployed with the parameters in `chosen`.

    Other parameters keep the value in `remembered`, the stack's current parameters. In a new stack
    they get the template's default. Source: "sam deploy" in the SAM guide, --parameter-overrides.
    """
    defaults = {name: each.default for name, each in parameters().items()}
    values = {**defaults, **remembered, **chosen}
    return Target(values["Runtime"], values["Architecture"])


def this_machine() -> Target:
    """Return this machine as a target: MiniStack runs functions with the current interpreter."""
    is_arm = platform.machine() in ("aarch64", "arm64")
    return Target(_current_runtime(), "arm64" if is_arm else "x86_64", is_local=True)


def build(wanted: Target, run: Callable[[list[str]], int]) -> Path:
    """Build layers, functions and template; return the path of the built template.

    `run` runs a command of the SAM CLI, shows its output, and returns its exit code.

    Raises:
        BuildFailed: a layer or the functions could not be built, or contain invalid Python.
    """
    made_from = state_of_sources(wanted)
    MADE_FROM.unlink(missing_ok=True)
    for layer in LAYERS:
        packed(layer.folder).unlink(missing_ok=True)
        install_layer(wanted, layer)
    # SAM only copies the functions, but requires that their interpreter is installed: pass it the
    # current one. The parameter Runtime of sam deploy selects the deployed runtime.
    if run(sam.command("build", {**wanted.parameters, "Runtime": _current_runtime()})):
        raise BuildFailed("sam build failed: its output above says why.")
    _compile(wanted)
    template = FUNCTIONS / "template.yaml"
    _pin(template, wanted)
    MADE_FROM.write_text(made_from)
    return template


def packed(layer: Path) -> Path:
    """Return the path for a layer as a zip file (local/builds.py); a build removes the last one."""
    return layer.with_suffix(".zip")


def state_of_sources(wanted: Target) -> str:
    """Return a hash of all that a build for this target depends on."""
    about = f"{wanted.parameters} {wanted.platform} {sys.version} {ROOT}"
    digest = hashlib.sha256(about.encode())
    for source in SOURCES:
        for file in _files(ROOT / source):
            digest.update(f"{file.relative_to(ROOT)} {file.stat().st_mode}".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
    else:
        found = (each for each in source.rglob("*") if each.is_file())
        yield from sorted(each for each in found if "__pycache__" not in each.parts)


@contextmanager
def exclusive() -> Iterator[None]:
    """Lock build/ for a build and its deployment; other builds and deployments wait.

    Two terminals would otherwise deploy a mixture of their builds.
    """
    with _locked(fcntl.LOCK_EX):
        yield


@contextmanager
def shared() -> Iterator[None]:
    """Lock build/ for a deployment; builds wait, other deployments do not."""
    with _locked(fcntl.LOCK_SH):
        yield


@contextmanager
def _locked(mode: int) -> Iterator[None]:
    """Hold the lock of build/ in a mode of flock(2). A lock ends with its process."""
    FUNCTIONS.parent.mkdir(exist_ok=True)
    with (FUNCTIONS.parent / "building.lock").open("a") as file:
        try:
            fcntl.flock(file, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another build or deployment from this folder to end.", flush=True)
            fcntl.flock(file, mode)
        yield


def install_layer(wanted: Target, layer: Layer) -> None:
    """Replace the folder of a layer by the layer for a target: its package, and its wheels.

    The hash of every wheel must be in the lock file. Nothing is built from source.

    Raises:
        BuildFailed: a wheel is missing or its hash is wrong. The folder no longer exists then.
    """
    lock, folder = layer.lock, layer.folder
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
    shutil.rmtree(installed / "bin", ignore_errors=True)  # scripts with this machine's paths
    (installed / ".lock").unlink(missing_ok=True)  # written by uv
    if layer.package is not None:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(layer.package, installed / layer.package.name, ignore=ignored)
    unfinished.rename(folder)


def _current_runtime() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def _compile(wanted: Target) -> None:
    """Compile layers and functions with the target's Python, if this machine has it."""
    python = _interpreter(wanted)
    if python is None:
        print(
            f"Python {wanted.python} is not installed here, so the functions are not compiled. "
            "They work, but each cold start compiles them again. To avoid that, install Python "
            f"{wanted.python} and deploy again."
        )
        return
    layers = [layer.folder for layer in LAYERS]
    parts = [*layers, *sorted(path for path in FUNCTIONS.iterdir() if path.is_dir())]
    command = [python, "-I", bytecode.__file__, *map(str, parts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        output = f"{done.stdout}{done.stderr}"
        raise BuildFailed(f"The built code cannot be compiled.\n{output}".strip())


def _interpreter(wanted: Target) -> str | None:
    if wanted.runtime == _current_runtime():
        return sys.executable
    find = [str(UV), "python", "find", "--no-project", "--no-python-downloads"]
    found = subprocess.run(  # noqa: S603
        [*find, f"cpython@{wanted.python}"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None


def _pin(template: Path, wanted: Target) -> None:
    """Restrict a built template to the target that it was built for.

    CloudFormation then rejects a deployment that would run the layers on another processor.
    """
    built = yaml.load(template.read_text(), yaml.CSafeLoader)
    for name, value in wanted.parameters.items():
        built["Parameters"][name] |= {"Default": value, "AllowedValues": [value]}
    template.write_text(yaml.dump(built, Dumper=yaml.CSafeDumper, sort_keys=False))
