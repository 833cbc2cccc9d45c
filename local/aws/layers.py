"""Makes MiniStack unpack each version of a Lambda layer once, and not for every process.

MiniStack 1.5 unpacks a function's layers at each start of a process. On AWS a layer is mounted.
"""

import io
import os
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PATH = "_LAMBDA_LAYERS_DIRS"
"""The variable with the folders of a process's layers."""


class Layers:
    """The layers that are unpacked below a folder, by ARN; each version has its own ARN.

    `content` takes a layer from a function's configuration and returns its zip file; None for an
    empty layer.
    """

    def __init__(self, folder: Path, content: Callable[[Any], bytes | None]) -> None:
        self._folder = folder
        self._content = content
        self._known: dict[str, str | None] = {}
        self._lock = threading.Lock()

    def applied(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a function's configuration with the folders of its layers, not the layers."""
        folders = [each for layer in config.get("Layers", ()) if (each := self._unpacked(layer))]
        environment = config.get("Environment", {})
        variables = {**environment.get("Variables", {}), PATH: os.pathsep.join(folders)}
        return {**config, "Layers": [], "Environment": {**environment, "Variables": variables}}

    def _unpacked(self, layer: str | Mapping[str, Any]) -> str | None:
        """Return the folder of a layer; None for an empty layer."""
        arn = layer if isinstance(layer, str) else layer["Arn"]
        with self._lock:
            if arn not in self._known:
                self._known[arn] = self._unpack(layer)
            return self._known[arn]

    def _unpack(self, layer: str | Mapping[str, Any]) -> str | None:
        content = self._content(layer)
        if not content:
            return None
        folder = self._folder / f"layer-{len(self._known)}"
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            packed.extractall(folder)
        return str(folder)


def install(folder: Path) -> None:
    """Patch MiniStack in this process so that it unpacks layers below `folder`."""
    from ministack.core import lambda_runtime  # noqa: PLC0415 - only there in MiniStack's process
    from ministack.services import lambda_svc  # noqa: PLC0415

    layers = Layers(folder, lambda_svc._resolve_layer_zip)
    spawn = lambda_runtime.Worker._spawn

    def spawn_with_layers(worker: Any) -> None:
        deployed = worker.config
        worker.config = layers.applied(deployed)
        try:
            spawn(worker)
        finally:
            worker.config = deployed

    lambda_runtime.Worker._spawn = spawn_with_layers
