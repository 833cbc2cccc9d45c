"""The layers' lock files, installed for each runtime and processor that the template allows."""

from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from operations.build import LAYERS, Target, install_layer
from operations.template import parameters


class Machine(NamedTuple):
    """A processor's number in ELF headers, and its name in the tag of an extension module."""

    elf: int
    tag: str


MACHINES = {"x86_64": Machine(62, "x86_64"), "arm64": Machine(183, "aarch64")}
"""EM_X86_64 and EM_AARCH64 of elf.h."""


def machine_of(shared_object: Path) -> int:
    """Return the `e_machine` of an ELF header."""
    header = shared_object.read_bytes()[:20]
    assert header[:6] == b"\x7fELF\x02\x01", shared_object  # 64 bits, little-endian
    return int.from_bytes(header[18:20], "little")


def install(wanted: Target, folder: Path) -> None:
    """Install all layers in `folder`."""
    for layer in LAYERS:
        install_layer(wanted, replace(layer, folder=folder / layer.folder.name))


@pytest.mark.parametrize("architecture", parameters()["Architecture"].allowed)
@pytest.mark.parametrize("runtime", parameters()["Runtime"].allowed)
def test_every_shared_object_of_a_layer_is_for_the_processor_and_runtime_that_are_deployed(
    runtime: str, architecture: str, tmp_path: Path
) -> None:
    install(Target(runtime, architecture), tmp_path)
    found = [*tmp_path.rglob("*.so")]
    assert {machine_of(each) for each in found} == {MACHINES[architecture].elf}
    version = runtime.removeprefix("python").replace(".", "")
    tags = {f"cpython-{version}-{MACHINES[architecture].tag}-linux-gnu", "abi3"}
    assert {each.name.split(".")[1] for each in found} == tags
