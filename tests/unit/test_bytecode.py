import importlib.util
import marshal
import os
from pathlib import Path

import pytest

from operations.bytecode import NotCompiled, compile_built


def built(folder: Path, text: str = "ANSWER = 42\n") -> Path:
    """Return a file in a folder, as `sam build` creates it."""
    for file in (folder / "Intake/app.py", folder / "Layer/python/shared/thing.py"):
        file.parent.mkdir(parents=True)
        file.write_text(text)
    return folder / "Intake/app.py"


def parts(folder: Path) -> list[Path]:
    return [folder / "Intake", folder / "Layer"]


def compiled(file: Path) -> bytes:
    return Path(importlib.util.cache_from_source(str(file))).read_bytes()


def test_functions_and_layer_are_compiled_under_the_names_that_lambda_has_for_them(
    tmp_path: Path,
) -> None:
    app = built(tmp_path)
    compile_built(parts(tmp_path))
    shared = tmp_path / "Layer/python/shared/thing.py"
    assert marshal.loads(compiled(app)[16:]).co_filename == "/var/task/app.py"
    assert marshal.loads(compiled(shared)[16:]).co_filename == "/opt/python/shared/thing.py"


def test_bytecode_outlives_a_change_of_the_sources_time(tmp_path: Path) -> None:
    app = built(tmp_path)
    compile_built(parts(tmp_path))
    os.utime(app, (0, 0))
    assert compiled(app)[:4] == importlib.util.MAGIC_NUMBER
    assert compiled(app)[4:8] == b"\1\0\0\0"  # by hash, and not to be checked: PEP 552


def test_a_file_that_cannot_be_compiled_is_reported(tmp_path: Path) -> None:
    built(tmp_path, "def broken(:\n")
    with pytest.raises(NotCompiled, match="Intake"):
        compile_built(parts(tmp_path))
