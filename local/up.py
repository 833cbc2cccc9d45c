"""`make up` and `make down`: the local stack to play with."""

import argparse
import json
import sys
from urllib.parse import urlsplit

from local import deployer, stack
from local.demo import timeline
from local.servers import REGION, LocalStackError, port_number
from local.stack import LocalStack

SAMPLE = "events/callbacks/session-started.json"


def main() -> int:
    """Run the command that the arguments name; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.up")
    parser.add_argument("command", choices=["up", "down"])
    parser.add_argument("--port", type=port_number, default=4566, help="the local AWS's port")
    parser.add_argument("--vonage-port", type=port_number, default=4570, help="the emulator's port")
    options = parser.parse_args()
    try:
        if options.command == "up":
            with timeline.steps() as say:
                local = stack.up(say, options.port, options.vonage_port)
            print(guide(local))
        else:
            stack.down(options.port)
            print("The local stack has ended.")
    except LocalStackError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def guide(local: LocalStack) -> str:
    """Return what to try with a stack that runs: after each explanation, a line to paste."""
    things = "".join(f"\n{what}\n  {line}\n" for what, line in _things_to_try(local))
    return f"""
The stack runs. Its callback URL:
  {local.stack.callback_url()}

Things to try, each a line to paste into a shell in this folder:
{things}"""


def _things_to_try(local: LocalStack) -> list[tuple[str, str]]:
    """Return them, each with the line to paste, which takes nothing but make and curl."""
    headers = " ".join(f"-H '{name}: {value}'" for name, value in local.stack.headers.items())
    json_type = "-H 'Content-Type: application/json'"
    meeting = json.dumps({"participants": ["Ada", "Grace"], "recordings": 1})
    signed = f"--aws-sigv4 aws:amz:{REGION}:execute-api --user test:test"
    account = {
        **deployer.environment(local.operated.credentials),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": local.aws.url,
    }
    env = "env " + " ".join(f"{name}={value}" for name, value in account.items())
    operate, name = f"{env} make --no-print-directory", f"STACK={local.stack.name}"
    credentials = '{"api_key": "key", "api_secret": "secret"}'
    url = local.aws.url
    return [
        (
            "Post a callback yourself (the answer is 204)",
            f"curl -i {headers} {json_type} -d @{SAMPLE} '{local.stack.callback_url()}'",
        ),
        (
            "Have the emulated Vonage hold a meeting",
            f"curl -s {json_type} -d '{meeting}' {local.vonage.base}/control/meetings",
        ),
        (
            "See how its callbacks were answered",
            f"curl -s {local.vonage.base}/control/deliveries",
        ),
        (
            "Ask the management API for the rooms, signed",
            f"curl -s {headers} {signed} {url}/rooms",
        ),
        (
            "Rehearse a cleanup of what was uploaded a day ago or earlier",
            f"curl -s {headers} {signed} {json_type} "
            f"""-d '{{"dry_run": true, "retention_days": 1}}' {url}/jobs/recording-cleanup""",
        ),
        ("See what the table holds", f"{operate} items {name}"),
        (
            "Store other credentials for Vonage (the emulator takes any)",
            f"echo '{credentials}' | {operate} configure {name}",
        ),
        ("Print the callback URL again", f"{operate} callback-url {name}"),
        ("Publish dead letters again", f"{operate} redrive {name}"),
        ("End it all", f"make --no-print-directory down PORT={urlsplit(url).port}"),
    ]


if __name__ == "__main__":
    sys.exit(main())
