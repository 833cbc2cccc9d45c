"""Builds only if the content of build/ is not up to date with the project's files.

Only the local stack reuses a build: `make build` and `make deploy` always build.
"""

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from operations import build
from operations.build import Target
from operations.template import ROOT

SOURCES = (
    *("template.yaml", "operations", "schemas/template.yaml", "functions", "layers/roomkeeper"),
    *("requirements", "samconfig.toml"),
)
"""The files and folders that a build depends on."""


def is_current(wanted: Target) -> bool:
    """Return whether the content of build/ is up to date for this target."""
    layers = [layer.folder for layer in build.LAYERS]
    made = [build.MADE_FROM, *layers, *map(packed, layers), build.FUNCTIONS / "template.yaml"]
    if not all(each.exists() for each in made):
        return False
    return build.MADE_FROM.read_text() == _state_of_sources(wanted)


def make(wanted: Target, run: Callable[[list[str]], int]) -> None:
    """Build for a target with `operations.build`, pack the layers, and save the sources' hash.

    Raises:
        BuildFailed: a layer or the functions could not be built.
    """
    before = _state_of_sources(wanted)
    build.build(wanted, run)
    for layer in build.LAYERS:
        shutil.make_archive(str(layer.folder), "zip", layer.folder)
    build.MADE_FROM.write_text(before)


def packed(layer: Path) -> Path:
    """Return the path of a layer's zip file, which saves deployments from packing the layer."""
    return layer.with_suffix(".zip")


def _state_of_sources(wanted: Target) -> str:
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
