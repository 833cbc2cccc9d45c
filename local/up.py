"""`make up` and `make down`: start and stop the local stack."""

import argparse
import json
import os
import sys
from urllib.parse import urlsplit
from urllib.request import getproxies

from local import deployer, stack
from local.demo import timeline
from local.servers import REGION, LocalStackError, port_number
from local.stack import LocalStack
from operations.environment import use_only_this_machine

SAMPLE = "events/callbacks/session-started.json"


def main() -> int:
    """Run the command that the arguments name; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.up")
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
    return 0


def guide(local: LocalStack) -> str:
    """Return a guide to the running stack: explanations, each with a command to paste."""
    examples = "".join(f"\n{what}\n  {line}\n" for what, line in _examples(local))
    return f"""
The stack is running. Its callback URL:
  {local.stack.callback_url()}

Commands to try. Paste each into a shell in this folder:
{examples}"""


def _examples(local: LocalStack) -> list[tuple[str, str]]:
    """Return pairs of an explanation and a command, which needs only make and curl."""
    curl = "curl --noproxy '*'" if getproxies().get("http") else "curl"
    headers = " ".join(f"-H '{name}: {value}'" for name, value in local.stack.headers.items())
    json_type = "-H 'Content-Type: application/json'"
    meeting = json.dumps({"participants": ["Ada", "Grace"], "recordings": 1})
    signed = f"--aws-sigv4 aws:amz:{REGION}:execute-api --user test:test"
    account = {
        **deployer.environment(local.operated.credentials),
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": local.aws.url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    env = "env -u AWS_PROFILE " + " ".join(f"{name}={value}" for name, value in account.items())
    operate, name = f"{env} make --no-print-directory", f"STACK={local.stack.name}"
    credentials = '{"api_key": "key", "api_secret": "secret"}'
    url = local.aws.url
    return [
        (
            "Post a callback yourself (the response is 204)",
            f"{curl} -i {headers} {json_type} -d @{SAMPLE} '{local.stack.callback_url()}'",
        ),
        (
            "Have the emulated Vonage hold a meeting",
            f"{curl} -s {json_type} -d '{meeting}' {local.vonage.base}/control/meetings",
        ),
        (
            "See its callbacks, and the stack's responses to them",
            f"{curl} -s {local.vonage.base}/control/deliveries",
        ),
        (
            "List the rooms through the management API, with a signed request",
            f"{curl} -s {headers} {signed} {url}/rooms",
        ),
        (
            "Dry-run a cleanup of recordings that were uploaded at least a day ago",
            f"{curl} -s {headers} {signed} {json_type} "
            f"""-d '{{"dry_run": true, "retention_days": 1}}' {url}/jobs/recording-cleanup""",
        ),
        ("See the items in the table", f"{operate} items {name}"),
        (
            "Store other credentials for Vonage (the emulator accepts any)",
            f"echo '{credentials}' | {operate} configure {name}",
        ),
        ("Print the callback URL again", f"{operate} callback-url {name}"),
        ("Publish the events of dead letters", f"{operate} redrive {name}"),
        ("Stop the stack", f"make --no-print-directory down PORT={urlsplit(url).port}"),
    ]


if __name__ == "__main__":
    sys.exit(main())
