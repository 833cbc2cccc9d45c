"""The local stack uses the last build again as long as it is that of the project's files."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from local import builds, leftovers
from operations import build
from operations.build import BuildFailed, Layer, Target, this_machine
from operations.template import ROOT, template

Make = Callable[[], None]


def layers(project: Path) -> list[Layer]:
    """Return two layers of a project."""
    names = ("layer", "layer-for-intake")
    return [Layer(project / f"{name}.txt", project / f"build/{name}") for name in names]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two sources."""
    project = tmp_path / "project"
    (project / "functions/intake").mkdir(parents=True)
    (project / "functions/intake/app.py").write_text("handler = 1")
    (project / "template.yaml").write_text("Resources: {}")
    monkeypatch.setattr(build, "ROOT", project)
    monkeypatch.setattr(build, "MADE_FROM", project / "build/made-from")
    monkeypatch.setattr(build, "LAYERS", layers(project))
    monkeypatch.setattr(build, "FUNCTIONS", project / "build/sam")
    return project


@pytest.fixture
def make(project: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Build for this machine; a build makes empty files."""

    def install_layer(_wanted: Target, layer: Layer) -> None:
        layer.folder.mkdir(parents=True, exist_ok=True)
        (layer.folder / "code.py").touch()

    monkeypatch.setattr(build, "install_layer", install_layer)
    monkeypatch.setattr(build, "_compile", lambda _: None)
    monkeypatch.setattr(build, "_pin", lambda *_: None)
    return lambda: built_with(sam_build)


def built_with(run: Callable[[list[str]], int]) -> None:
    build.build(this_machine(), run)


def sam_build(_command: list[str]) -> int:
    build.FUNCTIONS.mkdir(parents=True, exist_ok=True)
    (build.FUNCTIONS / "template.yaml").touch()
    return 0


def test_a_build_is_current_until_a_source_changes(project: Path, make: Make) -> None:
    assert not builds.is_current(this_machine())
    make()
    assert builds.is_current(this_machine())

    (project / "functions/intake/__pycache__").mkdir()
    (project / "functions/intake/__pycache__/app.pyc").touch()
    assert builds.is_current(this_machine())

    (project / "functions/intake/app.py").write_text("handler = 2")
    assert not builds.is_current(this_machine())
    make()
    assert builds.is_current(this_machine())


def test_another_file_or_another_name_of_one_makes_a_build_necessary(
    project: Path, make: Make
) -> None:
    make()
    app = project / "functions/intake/app.py"
    app.rename(app.with_name("other.py"))
    assert not builds.is_current(this_machine())
    app.with_name("other.py").rename(app)
    assert builds.is_current(this_machine())
    app.with_name("more.py").touch()
    assert not builds.is_current(this_machine())


def test_a_build_for_another_target_is_not_current(make: Make) -> None:
    make()
    wanted = this_machine()
    [other] = {"arm64", "x86_64"} - {wanted.architecture}
    assert not builds.is_current(structs.replace(wanted, architecture=other))
    assert not builds.is_current(structs.replace(wanted, runtime="python3.99"))


@pytest.mark.parametrize(
    "name",
    ["build/layer", "build/layer-for-intake", "build/sam/template.yaml", "build/made-from"],
)
def test_a_build_of_which_a_part_is_gone_is_not_current(
    name: str, project: Path, make: Make
) -> None:
    make()
    part = project / name
    leftovers.remove(part)
    assert not builds.is_current(this_machine())


def test_a_layer_is_packed_once_for_each_build(project: Path, make: Make) -> None:
    make()
    layer = project / "build/layer"
    first = builds.packed(layer)
    (layer / "more.py").touch()
    assert zipfile.ZipFile(builds.packed(layer)).namelist() == ["code.py"]

    make()
    assert not first.exists()
    assert zipfile.ZipFile(builds.packed(layer)).namelist() == ["code.py", "more.py"]
    assert {each.name for each in first.parent.glob("layer.*")} == {"layer.zip"}


def test_a_source_that_changes_during_a_build_makes_another_one_necessary(
    project: Path, make: Make
) -> None:
    def edit_and_build(command: list[str]) -> int:
        (project / "template.yaml").write_text("Resources: {Table: {}}")
        return sam_build(command)

    built_with(edit_and_build)
    assert not builds.is_current(this_machine())


def test_no_build_is_current_after_one_that_failed(project: Path, make: Make) -> None:
    make()
    with pytest.raises(BuildFailed):
        build.build(this_machine(), lambda _: 1)
    assert not build.MADE_FROM.exists()


def test_all_that_the_template_packs_is_a_source() -> None:
    packed = {
        str(properties[name])
        for resource in template()["Resources"].values()
        for properties in [resource.get("Properties", {})]
        for name in ("CodeUri", "ContentUri", "TemplateURL")
        if name in properties
    }
    assert packed >= {"functions/callback_intake", "operations/monitoring.yaml"}
    sources = [ROOT / source for source in build.SOURCES]
    layers = {str(layer.folder.relative_to(ROOT)) for layer in build.LAYERS}
    assert layers <= packed
    made_from = {ROOT / path for path in packed - layers} | {each.lock for each in build.LAYERS}
    assert [
        path
        for path in made_from | {build.PACKAGE}
        if not any(path.is_relative_to(source) for source in sources)
    ] == []
    assert [source for source in sources if not source.exists()] == []
