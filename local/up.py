"""`make up` and `make down`: the local stack to play with."""

import argparse
import json
import sys

from local import stack
from local.servers import CREDENTIALS, REGION, LocalStackError, port_number
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
            print(_guide(stack.up(_say, options.port, options.vonage_port)))
        else:
            stack.down()
            print("The local stack has ended.")
    except LocalStackError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def _guide(local: LocalStack) -> str:
    headers = " ".join(f"-H '{name}: {value}'" for name, value in local.stack.headers.items())
    meeting = json.dumps({"participants": ["Ada", "Grace"], "recordings": 1})
    keys = " ".join(f"{name}={value}" for name, value in CREDENTIALS.items())
    return f"""
The stack runs. Its callback URL:
  {local.stack.callback_url()}

Post a callback yourself (the answer is 204):
  curl -i {headers} -H 'Content-Type: application/json' -d @{SAMPLE} '{local.stack.callback_url()}'

Have the emulated Vonage hold a meeting:
  curl -s -H 'Content-Type: application/json' -d '{meeting}' {local.vonage.base}/control/meetings

Ask the management API for rooms, signed (the answer is 200):
  curl -i {headers} --aws-sigv4 aws:amz:{REGION}:execute-api --user test:test {local.aws.url}/rooms

Print the callback URL again, publish dead letters again:
  {keys} AWS_DEFAULT_REGION={REGION} AWS_ENDPOINT_URL={local.aws.url} \\
    make callback-url redrive STACK={local.stack.name}

Look at what the table holds (with the AWS CLI):
  {keys} aws --region {REGION} --endpoint-url {local.aws.url} \\
    dynamodb scan --table-name {local.stack.outputs["TableName"]}

End it all: make down"""


if __name__ == "__main__":
    sys.exit(main())
