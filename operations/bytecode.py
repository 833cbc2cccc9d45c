"""`python -m operations.bytecode FOLDER`: compiles what `sam build` has built.

Lambda mounts functions and layers read-only, so that Python cannot keep what it compiles there:
without this, every cold start compiles all that it imports. The bytecode is for the Python that
runs this; another version does not look at it, and compiles as it would have.
"""

import compileall
import sys
from pathlib import Path
from py_compile import PycInvalidationMode


class NotCompiled(Exception):
    """A file that was built is not Python; the compiler has printed which."""


def compile_built(folder: Path) -> None:
    """Compile the layer and every function that `sam build` has put into `folder`.

    Raises:
        NotCompiled: something cannot be compiled.
    """
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
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
    compile_built(Path(sys.argv[1]))
