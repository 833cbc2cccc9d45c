"""Machines that differ from the developers': their folders, shells, settings and check-outs."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from copy import copy
from pathlib import Path

from msgspec import Struct

from local.servers import TOOLS, free_port
from local.testing.template import ROOT
from operations.build import this_machine
from tests.support.commands import Result

DEAD = "http://127.0.0.1:9"
"""A proxy or an endpoint that refuses every connection."""

_INDEX = ("PIP_", "UV_", "SSL_")
"""Variables that select the package index of this machine."""


class Oddity(Struct, frozen=True):
    """A way in which a machine differs.

    Attributes:
        variables: environment variables; `{scratch}` is a folder that exists.
        offline: more of them, once all packages are in the cache.
        git: options of git clone.
        is_bare: whether the environment has nothing else, as with `env -i`.
    """

    folder: str = "roomkeeper"
    variables: Mapping[str, str] = {}
    offline: Mapping[str, str] = {}
    git: tuple[str, ...] = ()
    umask: int = 0o022
    is_bare: bool = False

    def __or__(self, other: "Oddity") -> "Oddity":
        """Return a machine that differs in both ways."""
        return Oddity(
            folder=max(self.folder, other.folder, key=len),
            variables={**self.variables, **other.variables},
            offline={**self.offline, **other.offline},
            git=self.git + other.git,
            umask=self.umask | other.umask,
            is_bare=self.is_bare or other.is_bare,
        )


ODDITIES: Mapping[str, Oddity] = {
    "blanks and shell characters in the path": Oddity(folder="R&D/it's (1) $HOME;x"),
    "a home that cannot be written": Oddity(variables={"HOME": os.devnull}),
    "proxies": Oddity(
        offline={
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), DEAD),
            **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), DEAD),
            "NO_PROXY": "corp.example",
            "UV_OFFLINE": "1",  # the packages are in the cache by then
        }
    ),
    "settings of pip and uv": Oddity(
        variables={
            "PIP_USER": "1",
            "PIP_TARGET": "/nowhere",
            "PIP_NO_BINARY": ":all:",
            "PIP_DRY_RUN": "1",
            "UV_SYSTEM_PYTHON": "1",
            "UV_PYTHON": "3.9",
            "UV_NO_BINARY": "1",
            "UV_EXCLUDE_NEWER": "2015-01-01T00:00:00Z",
            "UV_CACHE_DIR": "/nowhere",
        }
    ),
    "settings of AWS": Oddity(
        variables={
            "AWS_PROFILE": "typo",
            "AWS_REGION": "mars-east-1",
            "AWS_ENDPOINT_URL": DEAD,
            "AWS_ENDPOINT_URL_DYNAMODB": DEAD,
            "AWS_CONFIG_FILE": "{scratch}/invalid",
            "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
            "AWS_CA_BUNDLE": "/nowhere.pem",
        }
    ),
    "settings of Python": Oddity(
        variables={
            "PYTHONHOME": "/nowhere",
            "PYTHONPATH": "/nowhere",
            "PYTHONSTARTUP": "/nowhere",
            "PYTHONWARNINGS": "error",
            "PYTHONOPTIMIZE": "2",
            "PYTHONINSPECT": "1",
            "PYTHONSAFEPATH": "1",
            "PYTHONIOENCODING": "ascii",
            "VIRTUAL_ENV": "/nowhere",
        }
    ),
    "no locale": Oddity(variables={"LC_ALL": "C", "LANG": "", "PYTHONUTF8": "0"}),
    "an empty environment": Oddity(is_bare=True),
    "files that only their owner can read": Oddity(umask=0o077),
    "line ends of Windows": Oddity(git=("-c", "core.autocrlf=true")),
    "parallel make": Oddity(variables={"MAKEFLAGS": "-j4"}),
    "settings of the shell": Oddity(
        variables={
            "TMPDIR": "{scratch}/t m p",
            "CDPATH": "/",
            "BASH_ENV": "{scratch}/prints",
            "GREP_OPTIONS": "--color=always",
        }
    ),
}

ALL = Oddity()
for _each in ODDITIES.values():
    if not _each.is_bare:
        ALL |= _each


class Machine:
    """A clone of the project on a machine with an oddity; it shares the cache of downloads."""

    def __init__(self, project: Path, parent: Path, oddity: Oddity) -> None:
        self.oddity = oddity
        self.folder = parent / oddity.folder
        self._scratch = parent / "scratch"
        (self._scratch / "t m p").mkdir(parents=True)
        (self._scratch / "invalid").write_text("not a configuration\n[")
        (self._scratch / "prints").write_text("echo printed by a start-up file\n")
        clone = ["git", *oddity.git, "clone", "--quiet", str(project), str(self.folder)]
        subprocess.run(clone, check=True, umask=oddity.umask)
        (self.folder / ".tools").mkdir()
        (self.folder / ".tools/cache").symlink_to(TOOLS / "cache")
        self.ports = f"PORT={free_port()}", f"VONAGE_PORT={free_port()}"

    def with_oddity(self, oddity: Oddity) -> "Machine":
        """Return the same clone with another oddity, where the tests' tools are not installed."""
        other = copy(self)
        other.oddity = oddity
        shutil.rmtree(self.folder / ".tools/dev")
        return other

    def install(self, *more: str) -> Result:
        """Install the tools, and `more`, and build."""
        tools = [f".tools/{name}/.installed" for name in ("dev", "sam", "ministack", *more)]
        parameters = f"PARAMETERS=Architecture={this_machine().architecture}"
        for command in (["make", *tools], ["make", "build", parameters]):
            result = self._run(command, self._variables())
            if result.code:
                break
        return result

    def make(self, *arguments: str) -> Result:
        """Run make; its output has no lines of make itself."""
        return self.run("make", "--no-print-directory", *arguments)

    def run(self, *command: str) -> Result:
        """Run a command in the clone."""
        return self._run([*command], {**self._variables(), **self.oddity.offline})

    def _variables(self) -> dict[str, str]:
        known = {} if self.oddity.is_bare else plain_shell()
        index = {name: value for name, value in os.environ.items() if name.startswith(_INDEX)}
        odd = self.oddity.variables.items()
        return known | index | {name: text.format(scratch=self._scratch) for name, text in odd}

    def _run(self, command: list[str], variables: Mapping[str, str]) -> Result:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=variables,
            umask=self.oddity.umask,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode())


def plain_shell() -> dict[str, str]:
    """Return the environment of a shell without any setting."""
    return {name: os.environ[name] for name in ("PATH", "HOME")}


def snapshot(folder: Path) -> Path:
    """Return a new repository with the project's files as they are now, committed or not."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout
    present = b"".join(name + b"\0" for name in names.split(b"\0") if name and _exists(name))
    folder.mkdir()
    packed = subprocess.run(
        ["tar", "--create", "--null", "--files-from=-"],
        cwd=ROOT,
        input=present,
        capture_output=True,
        check=True,
    ).stdout
    subprocess.run(["tar", "--extract"], cwd=folder, input=packed, check=True)
    author = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    for arguments in (["init", "-q"], ["add", "--all"], [*author, "commit", "-q", "-m", "now"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)
    return folder


def _exists(name: bytes) -> bool:
    return (ROOT / os.fsdecode(name)).exists()
