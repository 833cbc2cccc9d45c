"""`python operations/bytecode.py FOLDER ...`: compiles functions and layer that were built.

Lambda mounts functions and layers read-only, so that Python cannot keep what it compiles there:
without this, every cold start compiles all that it imports. The bytecode is for the Python that
runs this; another version does not look at it, and compiles as it would have. So this is run by the
Python that the functions get, and imports nothing but the standard library.
"""

import compileall
import sys
from collections.abc import Iterable
from pathlib import Path
from py_compile import PycInvalidationMode


class NotCompiled(Exception):
    """A file that was built is not Python; the compiler has printed which."""


def compile_built(parts: Iterable[Path]) -> None:
    """Compile every folder of `parts`, each a function or a layer as it is packed.

    Raises:
        NotCompiled: something cannot be compiled.
    """
    for part in parts:
        compiled = compileall.compile_dir(
            part,
            quiet=1,
            force=True,
            # As tracebacks show it, and wherever this machine has it.
            stripdir=str(part),
            prependdir="/opt" if (part / "python").is_dir() else "/var/task",
            # Zipping and unzipping changes times, and nobody changes what is deployed.
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )
        if not compiled:
            raise NotCompiled(f"Not all in {part} could be compiled.")


if __name__ == "__main__":
    compile_built(map(Path, sys.argv[1:]))
