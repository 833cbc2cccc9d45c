"""`make up` and `make down`: start and stop the local stack."""

import json
import os
import sys
from urllib.parse import urlsplit
from urllib.request import getproxies

from local import stack
from local.demo import timeline
from local.servers import CREDENTIALS, PROJECT, REGION, LocalStackError, port_number
from local.stack import LocalStack
from operations.arguments import Parser
from operations.environment import use_only_this_machine
from roomkeeper.domain.observations import Product

SAMPLE = "events/callbacks/recording-started.json"
VIDEO_SAMPLE = "events/video_archive_available.json"


def main() -> int:
    """Run the command that the arguments name; return the exit code."""
    parser = Parser(sys.argv[1] if len(sys.argv) > 1 else "up")
    parser.add_argument("command", choices=["up", "down"])
    parser.add_argument("--port", type=port_number, default=4566, help="the local AWS's port")
    parser.add_argument("--vonage-port", type=port_number, default=4570, help="the emulator's port")
    options = parser.parse_args()
    use_only_this_machine()
    try:
        if options.command == "up":
            with timeline.steps() as say:
                local = stack.up(say, options.port, options.vonage_port)
            print(guide(local))
        else:
            stack.down(options.port)
            print("The local stack is stopped.")
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nInterrupted. {_INTERRUPTED[options.command]}", file=sys.stderr)
        return 130
    return 0


_INTERRUPTED = {
    "up": "The local stack is stopped.",
    "down": "Run make down again to stop what still runs.",
}


def guide(local: LocalStack) -> str:
    """Return a guide to the running stack: explanations, each with a command to paste."""
    variables = "".join(f"\n  export {name}={value}" for name, value in _variables(local).items())
    examples = "".join(f"\n{what}\n  {line}\n" for what, line in _examples(local))
    return f"""
The stack is running. Its callback URLs for Meetings and for Video, which curl accepts as they are:
  {_callback_url(local, "meetings")}
  {_callback_url(local, "video")}

Paste these lines once into a shell in this folder:
  unset AWS_PROFILE AWS_SESSION_TOKEN{variables}

Commands to try in that shell:
{examples}"""


def _api_url(local: LocalStack) -> str:
    """Return the HTTP API's URL. curl resolves names below localhost itself (RFC 6761)."""
    return f"http://{local.stack.headers['Host']}"


def _callback_url(local: LocalStack, product: Product) -> str:
    return _api_url(local) + local.stack.callback_path(product)


def _variables(local: LocalStack) -> dict[str, str]:
    """Return the variables that the examples need: those of the AWS SDKs, of make and of curl.

    The user is root: the local AWS has no resource for some actions of the operator's
    commands, so it rejects them for a user whose policy names the resource.
    """
    return {
        **CREDENTIALS,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": local.aws.url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "STACK": local.stack.name,
        "API": _api_url(local),
        "CALLBACK_URL": _callback_url(local, "meetings"),
        "VIDEO_CALLBACK_URL": _callback_url(local, "video"),
        "VONAGE": local.vonage.base,
        **({name: os.environ[name] for name in ("NO_PROXY", "no_proxy")} if getproxies() else {}),
    }


def _examples(local: LocalStack) -> list[tuple[str, str]]:
    """Return pairs of an explanation and a command, which needs only make and curl."""
    recording_id = json.loads((PROJECT / SAMPLE).read_text())["recording_id"]
    archive_id = json.loads((PROJECT / VIDEO_SAMPLE).read_text())["id"]
    json_type = "-H 'Content-Type: application/json'"
    curl = "curl -sw '\\n'"  # a response has no newline at its end
    meeting = json.dumps({"participants": ["Ada", "Grace"], "recordings": 1})
    signed = f"{curl} --aws-sigv4 aws:amz:{REGION}:execute-api --user test:test"
    dry_run = json.dumps({"dry_run": True, "retention_days": 1})
    session = json.dumps({"participants": ["Ada", "Grace"], "archives": 1, "pauses": 1})
    return [
        (
            "Post a callback yourself (the response is 204)",
            f'curl -i {json_type} -d @{SAMPLE} "$CALLBACK_URL"',
        ),
        (
            "Post a callback of Video, about an archive (the response is 204)",
            f'curl -i {json_type} -d @{VIDEO_SAMPLE} "$VIDEO_CALLBACK_URL"',
        ),
        (
            "Let the emulated Vonage hold a meeting",
            f"{curl} {json_type} -d '{meeting}' $VONAGE/control/meetings",
        ),
        (
            "Let it hold a Video session, recorded with a pause",
            f"{curl} {json_type} -d '{session}' $VONAGE/control/video/sessions",
        ),
        (
            "See its callbacks, and the stack's responses to them",
            f"{curl} $VONAGE/control/deliveries",
        ),
        ("See the deployment, the jobs and the alarms", "make status"),
        ("See the items in the table, recordings first", "make items"),
        ("See the history of the first recording", f"make trace RECORDING={recording_id}"),
        ("See the history of the archive", f"make trace RECORDING={archive_id}"),
        ("See the functions' latest log lines", "make logs"),
        ("Send a callback of each product through the stack and remove it again", "make smoke"),
        (
            "Print events as they are published, until Ctrl-C (post a callback in another shell)",
            "make events",
        ),
        (
            "See the credentials of its Video API, at the same address",
            f"{curl} $VONAGE/control/video/credentials",
        ),
        (
            "List rooms through the management API, with a signed request",
            f"{signed} $API/rooms",
        ),
        (
            "Dry-run a cleanup of recordings that were uploaded at least a day ago",
            f"{signed} {json_type} -d '{dry_run}' $API/jobs/cleanup",
        ),
        (
            "Check these credentials with the emulated Vonage and store them",
            "curl -s $VONAGE/control/video/credentials | make configure PRODUCT=video",
        ),
        ("Print the URLs to enter at Vonage, and where", "make callback-url"),
        ("Publish the events of dead letters", "make redrive"),
        ("Stop the stack", f"make down PORT={urlsplit(local.aws.url).port}"),
    ]


if __name__ == "__main__":
    sys.exit(main())
