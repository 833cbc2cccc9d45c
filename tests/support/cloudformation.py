"""A fake CloudFormation with one stack in any state, served over loopback in the Query protocol.

moto has no failed states, and its stacks have only the resource types that it implements.
Source: CloudFormation API Reference, the sample responses of each action.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

NAME = "roomkeeper"
STACK_ID = f"arn:aws:cloudformation:eu-west-1:123456789012:stack/{NAME}/d0a825a0"

Fields = Mapping[str, str]
Resource = tuple[str, str, str]
"""A resource's type, physical id and status.

A physical id that ends like `roomkeeper-CopyQueue-1A2B` has the logical id in it, as those that
CloudFormation generates. For any other one, the logical id is the last part of the type.
"""

_KEPT = {"AWS::DynamoDB::Table", "AWS::S3::Bucket"}
"""The types of the resources that the template keeps when the stack is deleted."""


class CloudFormation:
    """The service with one stack. `status` is None if the stack does not exist."""

    def __init__(
        self,
        status: str | None,
        *,
        outputs: Fields | None = None,
        parameters: Fields | None = None,
        resources: Sequence[Resource] = (),
        deletions: Sequence[str] = ("DELETE_COMPLETE",),
    ) -> None:
        self.status = status
        self.outputs, self.parameters = outputs or {}, parameters or {}
        self.resources = list(resources)
        self.deletions = list(deletions)
        """The final status of each deletion, in order."""
        self.calls: list[str] = []

    def response(self, request: Fields) -> tuple[int, str]:
        """Return the status code and body of the response to a request."""
        action = request["Action"]
        self.calls.append(action)
        does_not_exist = self.status is None or (
            self.status == "DELETE_COMPLETE" and request["StackName"] == NAME
        )
        if does_not_exist and action != "DeleteStack":
            return 400, _error(f"Stack with id {request['StackName']} does not exist")
        return 200, getattr(self, f"_{action}")()

    def _DescribeStacks(self) -> str:  # noqa: N802 - named as the actions are
        return _result(
            "DescribeStacks",
            f"<Stacks><member><StackName>{NAME}</StackName><StackId>{STACK_ID}</StackId>"
            f"<StackStatus>{self.status}</StackStatus>"
            "<CreationTime>2026-11-22T20:50:24Z</CreationTime>"
            f"<Outputs>{_pairs('Output', self.outputs)}</Outputs>"
            f"<Parameters>{_pairs('Parameter', self.parameters)}</Parameters></member></Stacks>",
        )

    def _ListStackResources(self) -> str:  # noqa: N802
        members = "".join(map(_resource, self.resources))
        return _result(
            "ListStackResources",
            f"<StackResourceSummaries>{members}</StackResourceSummaries>",
        )

    def _DescribeStackEvents(self) -> str:  # noqa: N802
        members = "".join(map(_event, self.resources))
        return _result("DescribeStackEvents", f"<StackEvents>{members}</StackEvents>")

    def _DeleteStack(self) -> str:  # noqa: N802
        if self.status is not None:
            self.status = self.deletions.pop(0)
        if self.status == "DELETE_COMPLETE":
            self.resources = [_after_deletion(each) for each in self.resources]
        return '<DeleteStackResponse xmlns="http://cloudformation.amazonaws.com/"/>'


@contextmanager
def serving(formation: CloudFormation) -> Iterator[str]:
    """Serve `formation` on a loopback port and yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            code, text = formation.response({key: each[0] for key, each in parse_qs(body).items()})
            self.send_response(code)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_args: object) -> None:
            """Write nothing: `calls` has the requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])  # poll interval, in seconds
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _after_deletion(resource: Resource) -> Resource:
    kind, name, status = resource
    is_kept = kind in _KEPT and status != "DELETE_COMPLETE"
    return kind, name, "DELETE_SKIPPED" if is_kept else "DELETE_COMPLETE"


def _result(action: str, content: str) -> str:
    return (
        f'<{action}Response xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">'
        f"<{action}Result>{content}</{action}Result></{action}Response>"
    )


def _error(message: str) -> str:
    return (
        '<ErrorResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><Error>'
        f"<Type>Sender</Type><Code>ValidationError</Code><Message>{message}</Message>"
        "</Error></ErrorResponse>"
    )


def _pairs(kind: str, fields: Fields) -> str:
    return "".join(
        f"<member><{kind}Key>{name}</{kind}Key><{kind}Value>{escape(value)}</{kind}Value></member>"
        for name, value in fields.items()
    )


def _resource(resource: Resource) -> str:
    kind, name, status = resource
    reason = "because it is in use" if status == "DELETE_FAILED" else ""
    return (
        f"<member><ResourceType>{kind}</ResourceType><PhysicalResourceId>{escape(name)}"
        f"</PhysicalResourceId><LogicalResourceId>{_logical_id(kind, name)}</LogicalResourceId>"
        f"<ResourceStatus>{status}</ResourceStatus>"
        f"<ResourceStatusReason>{reason}</ResourceStatusReason>"
        "<LastUpdatedTimestamp>2026-11-22T20:50:24Z</LastUpdatedTimestamp></member>"
    )


def _logical_id(kind: str, name: str) -> str:
    stack, _, rest = name.rpartition("/")[2].partition("-")
    logical_id, has_suffix, _ = rest.partition("-")
    return logical_id if stack == NAME and has_suffix else kind.split("::")[2]


def _event(resource: Resource) -> str:
    kind, name, status = resource
    return (
        f"<member><ResourceType>{kind}</ResourceType><PhysicalResourceId>{escape(name)}"
        f"</PhysicalResourceId><ResourceStatus>{status}</ResourceStatus><EventId>{name}</EventId>"
        f"<StackId>{STACK_ID}</StackId><StackName>{NAME}</StackName>"
        "<Timestamp>2026-11-22T20:50:24Z</Timestamp></member>"
    )
