"""Each layer contains exactly the locked wheels for the deployed target."""

import hashlib
import re
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from local.testing.template import ROOT, properties, resources
from local.waiting import wait_until
from operations import build
from operations.build import LAYERS, BuildFailed, Layer, Target, install_layer

ARM = Target("python3.13", "arm64")
X86 = Target("python3.13", "x86_64")
DEFAULTS = {"Runtime": "python3.13", "Architecture": "arm64"}


def a_wheel(folder: Path, *, platform: str = "any", content: str = "ANSWER = 42\n") -> Path:
    """Return a wheel of the distribution `thing`, created in `folder`."""
    tags = "py3-none-any" if platform == "any" else f"cp313-cp313-{platform}"
    wheel, info = folder / f"thing-1.0-{tags}.whl", "thing-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as written:
        written.writestr("thing.py", content)
        written.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        written.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nTag: {tags}\n")
        written.writestr(f"{info}/RECORD", "")
    return wheel


def a_lock(folder: Path, *wheels: Path) -> Path:
    lock = folder / "layer.txt"
    hashes = [f"--hash=sha256:{hashlib.sha256(w.read_bytes()).hexdigest()}" for w in wheels]
    lock.write_text(" ".join(["thing==1.0", *hashes]) + "\n")
    return lock


def a_layer(folder: Path, *wheels: Path) -> Layer:
    """Return a layer with the package and these wheels, to be installed in `folder`."""
    return Layer(a_lock(folder, *wheels), folder / "layer", build.PACKAGE)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only source of wheels."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return folder


@pytest.mark.parametrize("wanted", [ARM, X86, Target("python3.11", "arm64"), build.this_machine()])
def test_a_locked_wheel_is_installed_beside_the_package(
    wanted: Target, wheels: Path, tmp_path: Path
) -> None:
    install_layer(wanted, a_layer(tmp_path, a_wheel(wheels)))
    installed = tmp_path / "layer/python"
    assert (installed / "thing.py").is_file()
    assert (installed / "roomkeeper/callbacks/meetings.py").is_file()
    assert not [*installed.rglob("__pycache__"), *installed.glob(".lock")]


@pytest.mark.parametrize("wanted", [ARM, X86, build.this_machine()])
def test_a_wheel_that_is_not_the_one_that_was_locked_fails_the_build(
    wanted: Target, wheels: Path, tmp_path: Path
) -> None:
    layer = a_layer(tmp_path, a_wheel(wheels))
    a_wheel(wheels, content="import evil\n")
    with pytest.raises(BuildFailed, match="Hash mismatch"):
        install_layer(wanted, layer)
    assert not (tmp_path / "layer").exists()


def test_a_layer_that_was_built_before_does_not_outlive_a_build_that_fails(
    wheels: Path, tmp_path: Path
) -> None:
    install_layer(ARM, a_layer(tmp_path, a_wheel(wheels)))
    with pytest.raises(BuildFailed):
        install_layer(ARM, a_layer(tmp_path))
    assert not (tmp_path / "layer").exists()


def test_no_setting_of_the_operators_turns_the_hashes_off(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_NO_VERIFY_HASHES", "1")
    monkeypatch.setenv("UV_REQUIRE_HASHES", "0")
    layer = a_layer(tmp_path, a_wheel(wheels))
    a_wheel(wheels, content="import evil\n")
    with pytest.raises(BuildFailed, match="Hash mismatch"):
        install_layer(ARM, layer)


def test_a_lock_without_a_hash_fails_the_build(wheels: Path, tmp_path: Path) -> None:
    a_wheel(wheels)
    with pytest.raises(BuildFailed, match="hash"):
        install_layer(ARM, a_layer(tmp_path))


@pytest.mark.parametrize(
    ("wanted", "other"), [(ARM, "manylinux2014_x86_64"), (X86, "manylinux2014_aarch64")]
)
def test_a_wheel_for_another_processor_is_not_installed(
    wanted: Target, other: str, wheels: Path, tmp_path: Path
) -> None:
    layer = a_layer(tmp_path, a_wheel(wheels, platform=other))
    with pytest.raises(BuildFailed, match="no wheels with a matching platform tag"):
        install_layer(wanted, layer)


def test_a_wheel_that_needs_a_newer_glibc_than_lambdas_is_not_installed(
    wheels: Path, tmp_path: Path
) -> None:
    newer = a_wheel(wheels, platform="manylinux_2_28_aarch64")  # Amazon Linux 2 has 2.26
    with pytest.raises(BuildFailed, match="no wheels with a matching platform tag"):
        install_layer(ARM, a_layer(tmp_path, newer))


def test_nothing_is_built_from_source(wheels: Path, tmp_path: Path) -> None:
    source = wheels / "thing-1.0.tar.gz"
    source.write_bytes(b"")
    with pytest.raises(BuildFailed, match="no usable wheels"):
        install_layer(ARM, a_layer(tmp_path, source))


@pytest.mark.parametrize(
    ("remembered", "chosen", "expected"),
    [
        ({}, {}, DEFAULTS),
        ({"Architecture": "x86_64"}, {}, DEFAULTS | {"Architecture": "x86_64"}),
        ({"Runtime": "python3.11"}, {}, DEFAULTS | {"Runtime": "python3.11"}),
        ({"Architecture": "x86_64"}, {"Architecture": "arm64"}, DEFAULTS),
        (
            {"Architecture": "x86_64", "Gone": "1"},
            {"LogRetentionDays": "7"},
            {"Architecture": "x86_64"},
        ),
    ],
)
def test_chosen_values_override_the_stacks_which_override_defaults(
    remembered: Mapping[str, str], chosen: Mapping[str, str], expected: Mapping[str, str]
) -> None:
    wanted = build.target(remembered, chosen).parameters
    assert wanted == {**DEFAULTS, **expected}


def test_the_template_packs_the_layers_that_are_built() -> None:
    layers = resources("AWS::Serverless::LayerVersion")
    packed = [ROOT / properties(layer)["ContentUri"] for layer in layers]
    assert packed == [layer.folder for layer in LAYERS]


def test_no_library_is_in_two_layers() -> None:
    pinned = re.compile(r"^([a-z0-9-]+)==", re.MULTILINE)
    names = [name for layer in LAYERS for name in pinned.findall(layer.lock.read_text())]
    assert {"awscrt", "cryptography", "msgspec"} <= set(names)
    assert len(names) == len(set(names))


def test_a_built_template_allows_no_other_processor_or_runtime(tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    declared = {
        "Runtime": {"Type": "String", "Default": "python3.13", "AllowedValues": ["python3.13"]},
        "Architecture": {
            "Type": "String",
            "Default": "arm64",
            "AllowedValues": ["arm64", "x86_64"],
        },
        "LogRetentionDays": {"Type": "Number", "Default": 30},
    }
    template.write_text(yaml.safe_dump({"Parameters": declared, "Resources": {}}))
    build._pin(template, X86)
    pinned = yaml.safe_load(template.read_text())["Parameters"]
    assert pinned["Architecture"]["AllowedValues"] == ["x86_64"]
    assert pinned["Architecture"]["Default"] == "x86_64"
    assert pinned["LogRetentionDays"] == declared["LogRetentionDays"]


@pytest.mark.parametrize("wanted", [ARM, X86])
def test_macos_gets_its_own_wheels_for_a_local_aws_alone(
    wanted: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))  # as on macOS
    assert wanted.platform is not None
    assert Target(wanted.runtime, wanted.architecture, is_local=True).platform is None


def test_without_the_targets_python_nothing_is_compiled_and_a_message_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = tmp_path / "CallbackIntake/app.py"
    app.parent.mkdir()
    app.write_text("ANSWER = 42\n")
    monkeypatch.setattr(build, "FUNCTIONS", tmp_path)
    monkeypatch.setattr(build, "UV", Path("/usr/bin/false"))  # it finds no interpreter
    build._compile(Target("python3.99", "arm64"))
    assert "Python 3.99 is not installed here" in capsys.readouterr().out
    assert not [*tmp_path.rglob("*.pyc")]


def test_a_file_that_cannot_be_compiled_fails_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "CallbackIntake/app.py"
    broken.parent.mkdir()
    broken.write_text("def broken(:\n")
    monkeypatch.setattr(build, "FUNCTIONS", tmp_path)
    monkeypatch.setattr(build, "LAYERS", ())
    with pytest.raises(BuildFailed, match="CallbackIntake"):
        build._compile(build.this_machine())


def test_several_stacks_are_deployed_at_the_same_time_and_a_build_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "FUNCTIONS", tmp_path / "build/sam")
    order: list[str] = []

    def build_anew() -> None:
        with build.exclusive():
            order.append("build")

    with ThreadPoolExecutor(1) as pool:
        with build.shared(), build.shared():
            waiting = pool.submit(build_anew)
            assert wait_until(lambda: "Waiting for another build" in capsys.readouterr().out, 60)
            order.append("deployments")
        waiting.result()
    assert order == ["deployments", "build"]


def test_a_build_waits_until_the_deployment_of_another_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "FUNCTIONS", tmp_path / "build/sam")
    order: list[str] = []

    def deploy_second() -> None:
        with build.exclusive():
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with build.exclusive():
            second = pool.submit(deploy_second)
            assert wait_until(lambda: "Waiting for another build" in capsys.readouterr().out, 60)
            order.append("first")
        second.result()
    assert order == ["first", "second"]
