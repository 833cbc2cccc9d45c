"""Says whether the content of build/ is up to date with the project's files.

Only the local stack reuses a build: `make build` and `make deploy` always build.
"""

import os
import shutil
from pathlib import Path

from operations import build
from operations.build import Target


def is_current(wanted: Target) -> bool:
    """Return whether the content of build/ is up to date for this target."""
    layers = [layer.folder for layer in build.LAYERS]
    made = [build.MADE_FROM, *layers, build.FUNCTIONS / "template.yaml"]
    if not all(each.exists() for each in made):
        return False
    return build.MADE_FROM.read_text() == build.state_of_sources(wanted)


def packed(layer: Path) -> Path:
    """Return the path of a layer's zip file, which saves deployments from packing the layer.

    The first call after a build packs it.
    """
    path = build.packed(layer)
    if not path.exists():
        unfinished = layer.with_name(f"{layer.name}.{os.getpid()}")  # others may pack it, too
        Path(shutil.make_archive(str(unfinished), "zip", layer)).rename(path)
    return path
