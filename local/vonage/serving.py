"""The parts that the emulated services share: faults of operations, and the request journal."""

from collections.abc import Callable, Mapping

from flask import Response, request

from local.vonage.faults import RESET, ErrorBody, Operation
from local.vonage.refusal import Refusal
from local.vonage.responses import refusal_response
from local.vonage.state import State

View = Callable[..., Response]


def with_faults(state: State, operation: Operation, view: View, error: ErrorBody) -> View:
    """Return `view` with the faults that apply to `operation`.

    `error` makes the body of a fault that sets a status only.
    """

    def serve(**ids: str) -> Response:
        fault = state.switches.fault(operation)
        if fault is None:
            return view(**ids)
        state.stopping.wait(fault.latency)
        return fault.respond(request, lambda: _response(view, ids), state.stopping, error)

    return serve


def note(state: State, response: Response) -> Response:
    """Add the current request and its `response` to the journal, without credentials."""
    if request.blueprint == "control":
        return response
    path, _, query = request.environ.get("REQUEST_URI", request.path).partition("?")
    endpoint = (request.endpoint or "").rpartition(".")[2]
    state.journal.add_request(
        {
            "method": request.method,
            "path": path,
            "query": query if endpoint != "download" else "",  # a download's query is its signature
            "operation": endpoint or None,
            "range": request.headers.get("Range"),
            "authorization": _scheme(),
            "status": None if RESET in request.environ else response.status_code,
        }
    )
    return response


def _scheme() -> str | None:
    """Return the scheme of the request's credentials."""
    if "X-OPENTOK-AUTH" in request.headers:
        return "X-OPENTOK-AUTH"
    return request.headers.get("Authorization", "").partition(" ")[0] or None


def _response(view: View, ids: Mapping[str, str]) -> Response:
    """Return the response to a request, also for a refusal."""
    try:
        return view(**ids)
    except Refusal as refusal:
        return refusal_response(refusal)
