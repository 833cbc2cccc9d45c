"""What a process that dies while it starts costs, for MiniStack: its own invocation alone.

MiniStack 1.5 then ends every other process of the same function as well, in the middle of their
invocations, and those that start, which ends the next ones in turn.
"""

from typing import Any


def install() -> None:
    """Make MiniStack in this process leave the others alone, as execution environments are."""
    from ministack.core import lambda_runtime  # noqa: PLC0415 - only there in MiniStack's process

    invoke = lambda_runtime.Worker.invoke

    def invoke_alone(worker: Any, *request: Any, **options: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = invoke(worker, *request, **options)
        except (RuntimeError, OSError) as crash:
            worker._proc = None
            answer = {"status": "error", "error": f"{crash}", "log": worker._drain_stderr()}
        return answer

    lambda_runtime.Worker.invoke = invoke_alone
