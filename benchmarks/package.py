"""Measures the size of layers and functions, and finds packages that no function imports."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.measurements import Measurement
from benchmarks.processes import LAYER, LAYER_FOR_INTAKE, LAYER_FOR_VONAGE

IMPORT_ALL = """
import importlib.util, os, pathlib, sys
os.environ["POWERTOOLS_METRICS_NAMESPACE"] = "Roomkeeper"
layers, *functions = sys.argv[1:]
layers = [pathlib.Path(layer) for layer in layers.split(os.pathsep)]
sys.path[:0] = map(str, layers)
for number, folder in enumerate(functions):
    spec = importlib.util.spec_from_file_location(f"app{number}", pathlib.Path(folder, "app.py"))
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
tops = {pathlib.Path(file).relative_to(layer).parts[0] for file in files for layer in layers
        if file and pathlib.Path(file).is_relative_to(layer)}
print(*sorted(tops), sep="\\n")
"""


def measure(built: Path) -> Measurement:
    """Return the deployed bytes, with the largest packages and those that are never imported."""
    layers = [(built / each).resolve() for each in (LAYER, LAYER_FOR_INTAKE, LAYER_FOR_VONAGE)]
    functions = [handler.parent for handler in built.glob("*/app.py")]
    parts = {part.name: size_of(part) for layer in layers for part in layer.iterdir()}
    functions_size = sum(map(size_of, functions))
    not_imported = {name: parts[name] for name in unused(layers, functions, parts)}
    largest = sorted(parts.items(), key=lambda part: -part[1])[:4]
    return Measurement(
        name="package_size",
        value=sum(map(size_of, layers)) + functions_size,
        unit="bytes, unzipped",
        against="the packages that functions import",
        aim="no package without an import",
        met=not not_imported,
        note=f"functions {functions_size}; largest: {in_words(largest)}; "
        f"never imported: {in_words(not_imported.items())}",
    )


def unused(layers: list[Path], functions: list[Path], parts: dict[str, int]) -> list[str]:
    """Return the layers' packages that no function imports."""
    done = subprocess.run(  # noqa: S603 - our own command
        [
            sys.executable,
            "-B",
            "-c",
            IMPORT_ALL,
            os.pathsep.join(map(str, layers)),
            *(str(f.absolute()) for f in functions),
        ],
        cwd=layers[0].parent,
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    used = set(done.stdout.split())
    return [name for name in sorted(parts) if name not in used and not _is_metadata(name)]


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(file.stat().st_size for file in files)


def in_words(parts: object) -> str:
    """Return the parts' names and kilobytes as text."""
    return ", ".join(f"{name} {size // 1000} kB" for name, size in parts) or "none"  # type: ignore[attr-defined]


def _is_metadata(name: str) -> bool:
    return name.endswith((".dist-info", ".data", ".txt")) or name == "__pycache__"
