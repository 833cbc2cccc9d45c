"""The local AWS unpacks a layer once, and its processes find it where it is."""

import io
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from local.aws.layers import PATH, Layers

ARN = "arn:aws:lambda:eu-west-1:000000000000:layer:RoomkeeperLayer"


def packed(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as written:
        for name, text in files.items():
            written.writestr(name, text)
    return content.getvalue()


def folders(config: dict[str, Any]) -> list[Path]:
    """Return the folders of the layers that a process gets."""
    return [Path(each) for each in config["Environment"]["Variables"][PATH].split(os.pathsep)]


def test_processes_share_one_folder_of_a_layer(tmp_path: Path) -> None:
    asked: list[Any] = []

    def content(layer: Any) -> bytes:
        asked.append(layer)
        return packed(code="1")

    layers = Layers(tmp_path, content)
    config = {"Layers": [{"Arn": f"{ARN}:1", "CodeSize": 9}]}

    with ThreadPoolExecutor(8) as pool:
        found = [folders(each) for each in pool.map(layers.applied, [config] * 20)]

    assert len(asked) == 1
    assert {tuple(each) for each in found} == {tuple(found[0])}
    assert (found[0][0] / "code").read_text() == "1"


def test_each_version_has_a_folder_of_its_own_and_an_empty_layer_has_none(tmp_path: Path) -> None:
    contents = {f"{ARN}:1": packed(code="1"), f"{ARN}:2": None, f"{ARN}:3": packed(code="3")}
    layers = Layers(tmp_path, contents.get)

    [first] = folders(layers.applied({"Layers": [f"{ARN}:1"]}))
    both = folders(layers.applied({"Layers": [*contents]}))

    assert [(each / "code").read_text() for each in both] == ["1", "3"]
    assert both[0] == first


def test_the_functions_configuration_stays_as_it_was_deployed(tmp_path: Path) -> None:
    config = {"Layers": [f"{ARN}:1"], "Environment": {"Variables": {"A": "b"}}, "Timeout": 3}
    before = repr(config)

    applied = Layers(tmp_path, lambda _: packed(code="1")).applied(config)

    assert repr(config) == before
    assert applied["Layers"] == []
    assert applied["Timeout"] == 3
    assert applied["Environment"]["Variables"]["A"] == "b"
