"""Makes a process that crashes during its start fail only its own invocation in MiniStack.

MiniStack 1.5 reacts to such a crash by stopping all other processes of the function, in the middle
of their invocations, and processes that are starting, which causes further crashes.
"""

from typing import Any


def install() -> None:
    """Patch MiniStack in this process so that execution environments are independent."""
    from ministack.core import lambda_runtime  # noqa: PLC0415 - only there in MiniStack's process

    invoke = lambda_runtime.Worker.invoke

    def invoke_alone(worker: Any, *request: Any, **options: Any) -> dict[str, Any]:
        try:
            result: dict[str, Any] = invoke(worker, *request, **options)
        except (RuntimeError, OSError) as crash:
            worker._proc = None
            result = {"status": "error", "error": f"{crash}", "log": worker._drain_stderr()}
        return result

    lambda_runtime.Worker.invoke = invoke_alone
