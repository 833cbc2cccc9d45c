"""A deployed stack: found by its name, reached over HTTP and through the AWS SDK."""

import json
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from operations import account, stack_states

_OWN_PARAMETERS = {"RecordingRetentionDays", "RoomExtensionDryRun"}
"""Parameters that show that a stack is Roomkeeper's: CloudFormation has them in every state."""

_GONE = {"DELETE_COMPLETE", "DELETE_SKIPPED"}


class StackError(Exception):
    """A stack cannot be used; the message says why, and what to do."""


class Values(dict[str, str]):
    """A stack's outputs or parameters by name. A missing one raises a StackError."""

    def __init__(self, values: Mapping[str, str], kind: str, reason: str) -> None:
        super().__init__(values)
        self._kind, self._reason = kind, reason

    def __missing__(self, name: str) -> NoReturn:
        raise StackError(f"{self._reason} (It has no {self._kind} {name}.)")


class Stack:
    """A stack in the account and region that the environment names, as for the AWS CLI.

    Where AWS_ENDPOINT_URL is set, as for a local AWS, that is where everything goes.
    """

    def __init__(self, name: str, session: boto3.Session | None = None, endpoint: str = "") -> None:
        self.name = name
        self._session: Any = session or account.session()
        self._endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL", "")

    def client(self, service: str, **options: Any) -> Any:
        """Return an SDK client for the stack's account and region."""
        return self._session.client(service, endpoint_url=self._endpoint or None, **options)

    @property
    def credentials(self) -> Any:
        """What the stack's account is accessed with, to sign requests that no SDK client sends."""
        return self._session.get_credentials()

    @property
    def region(self) -> str:
        """The stack's region."""
        name: str = self._session.region_name
        return name

    @property
    def status(self) -> str | None:
        """The stack's status as CloudFormation names it when it is first read; None without one.

        Raises:
            StackError: it cannot be read.
        """
        return self._description.get("StackStatus")

    @property
    def id(self) -> str:
        """The stack's unique id, which names it even after its deletion; its name without one."""
        found: str = self._description.get("StackId", self.name)
        return found

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs; one that is missing raises a StackError.

        Raises:
            StackError: the stack cannot be read.
        """
        return self._values("Output")

    @cached_property
    def parameters(self) -> Mapping[str, str]:
        """The parameters that the stack was deployed with; none without a stack.

        Raises:
            StackError: the stack cannot be read.
        """
        return self._values("Parameter")

    def _values(self, kind: str) -> Values:
        given = self._description.get(f"{kind}s", [])
        reason = stack_states.why_not_usable(self.name, self.status) or _missing(self.name)
        values = {each[f"{kind}Key"]: each[f"{kind}Value"] for each in given}
        return Values(values, kind.lower(), reason)

    def exists(self) -> bool:
        """Tell whether the stack is there; one of which only a change set was ever made is not.

        Raises:
            StackError: that cannot be known.
        """
        return not stack_states.is_absent(self.status)

    def require_roomkeepers(self) -> None:
        """Raise a StackError if the stack is there and is another application's."""
        if self.exists() and not self.parameters.keys() >= _OWN_PARAMETERS:
            raise StackError(
                f"The stack {self.name} is another application's: choose Roomkeeper's stack (ENV=, "
                "STACK=)."
            )

    def whereabouts(self) -> str:
        """Return the account and the region that the credentials at hand lead to.

        Raises:
            StackError: they lead nowhere.
        """
        try:
            number = self.client("sts").get_caller_identity()["Account"]
        except (ClientError, BotoCoreError) as error:
            raise StackError(account.explain(error)) from error
        return f"account {number}, region {self.region}"

    @cached_property
    def _description(self) -> Mapping[str, Any]:
        """What CloudFormation says about the stack; nothing when there is none."""
        try:
            answer = self.client("cloudformation").describe_stacks(StackName=self.name)
        except ClientError as error:
            if "does not exist" in str(error):  # there is no error code of its own for that
                return {}
            raise self._unreadable(error) from error
        except BotoCoreError as error:
            raise self._unreadable(error) from error
        stack: dict[str, Any] = answer["Stacks"][0]
        return stack

    def _unreadable(self, error: ClientError | BotoCoreError) -> StackError:
        return StackError(f"The stack {self.name} cannot be read. {account.explain(error)}")

    def secret(self, output: str) -> dict[str, str]:
        """Return what the secret holds that an output, such as `VonageSecretArn`, names.

        Raises:
            StackError: it cannot be read. The message quotes nothing of it.
        """
        secret_id = self.outputs[output]
        try:
            client = self.client("secretsmanager")
            content = client.get_secret_value(SecretId=secret_id).get("SecretString", "")
        except (ClientError, BotoCoreError) as error:
            raise StackError(
                f"The secret {secret_id} cannot be read. {account.explain(error)}"
            ) from error
        return _fields(secret_id, content)

    def put_secret(self, output: str, content: str) -> None:
        """Put a new version of the secret that an output names.

        Raises:
            StackError: it cannot be written.
        """
        secret_id = self.outputs[output]
        try:
            client = self.client("secretsmanager")
            client.put_secret_value(SecretId=secret_id, SecretString=content)
        except (ClientError, BotoCoreError) as error:
            raise StackError(
                f"The secret {secret_id} cannot be written. {account.explain(error)}"
            ) from error

    def callback_secret(self) -> dict[str, str]:
        """Return the callback secret: `token` and `signature_secret`."""
        return self.secret("CallbackSecretArn")

    def callback_path(self) -> str:
        """Return the path that callbacks are posted to, the token included.

        Raises:
            StackError: the callback secret cannot be read, or holds no token.
        """
        token = self.callback_secret().get("token")
        if not token:
            raise StackError(
                f"The secret {self.outputs['CallbackSecretArn']} holds no token: put one back, as "
                "docs/operations.md describes."
            )
        return f"/callbacks/{quote(token, safe='')}"

    def callback_url(self) -> str:
        """Return the URL to enter at Vonage."""
        return f"{self.base_url}{self.callback_path()}"

    @cached_property
    def base_url(self) -> str:
        """Where the stack's HTTP API answers."""
        return self._endpoint or self.outputs["CallbackUrl"].removesuffix("/callbacks")

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """What every HTTP request must carry: locally, the name of the API that it is for."""
        if not self._endpoint:
            return {}
        api_id = (urlsplit(self.outputs["CallbackUrl"]).hostname or "").partition(".")[0]
        port = urlsplit(self._endpoint).port
        return {"Host": f"{api_id}.execute-api.localhost:{port}"}


def deployed_stack(name: str) -> Stack:
    """Return the stack `name`, whose outputs can be used.

    Raises:
        StackError: it is not there, not ready, or not Roomkeeper's.
    """
    stack = Stack(name)
    if reason := stack_states.why_not_usable(name, stack.status):
        raise StackError(reason)
    stack.require_roomkeepers()
    return stack


def resource_ids(stack: Stack, resource_type: str) -> dict[str, str]:
    """Return the ids of the stack's resources of a type, by the names in the template.

    A stack in any state has them; what was deleted or kept already is not among them.
    ListStackResources has pages; DescribeStackResources ends after 100 resources (CloudFormation
    API Reference), and the template has more.
    """
    pages = stack.client("cloudformation").get_paginator("list_stack_resources")
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in pages.paginate(StackName=stack.name)
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == resource_type
        and resource.get("PhysicalResourceId")
        and resource.get("ResourceStatus") not in _GONE
    }


def _missing(name: str) -> str:
    return (
        f"The stack {name} is another application's, or another version of Roomkeeper: choose "
        "another stack (ENV=, STACK=), or bring it up to date with make deploy."
    )


def _fields(secret_id: str, content: str) -> dict[str, str]:
    """Return the fields of a secret; an error quotes nothing of it."""
    try:
        fields = json.loads(content)
    except json.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        raise StackError(f"The secret {secret_id} holds no JSON object.")
    return fields
