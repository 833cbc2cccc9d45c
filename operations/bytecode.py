"""`python operations/bytecode.py FOLDER ...`: compiles the built functions and layers.

Lambda mounts functions and layers read-only, so Python cannot store bytecode there. Without this,
every cold start compiles every module that it imports. Python ignores bytecode of other versions,
so run this with the Python of the functions. It imports only the standard library.
"""

import compileall
import sys
from collections.abc import Iterable
from pathlib import Path
from py_compile import PycInvalidationMode


class NotCompiled(Exception):
    """A built file is not valid Python; the compiler has printed which one."""


def compile_built(parts: Iterable[Path]) -> None:
    """Compile every folder of `parts`, each a function or a layer as it is packed.

    Raises:
        NotCompiled: a file cannot be compiled.
    """
    for part in parts:
        compiled = compileall.compile_dir(
            part,
            quiet=1,
            force=True,
            # Tracebacks then show Lambda's paths, not this machine's.
            stripdir=str(part),
            prependdir="/opt" if (part / "python").is_dir() else "/var/task",
            # Zipping changes modification times, and deployed files never change.
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )
        if not compiled:
            raise NotCompiled(f"Some files in {part} could not be compiled.")


if __name__ == "__main__":
    compile_built(map(Path, sys.argv[1:]))
