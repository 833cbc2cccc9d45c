"""A deployed stack: found by its name, reached over HTTP and through the AWS SDK."""

import json
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError


class StackError(Exception):
    """A stack cannot be used; the message says why, and what to do."""


class Stack:
    """A stack in the account and region that the environment names, as for the AWS CLI.

    Where AWS_ENDPOINT_URL is set, as for a local AWS, that is where everything goes.
    """

    def __init__(self, name: str, session: boto3.Session | None = None, endpoint: str = "") -> None:
        self.name = name
        self._session: Any = session or boto3.Session()
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

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs.

        Raises:
            StackError: there is no such stack, or it cannot be read.
        """
        outputs = self._description.get("Outputs", [])
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    @cached_property
    def parameters(self) -> Mapping[str, str]:
        """The parameters that the stack was deployed with.

        Raises:
            StackError: there is no such stack, or it cannot be read.
        """
        given = self._description.get("Parameters", [])
        return {each["ParameterKey"]: each["ParameterValue"] for each in given}

    def exists(self) -> bool:
        """Whether the stack is there; one of which only a change set was ever made is not.

        Raises:
            StackError: that cannot be known.
        """
        try:
            return bool(self._description["StackStatus"] != "REVIEW_IN_PROGRESS")
        except StackError as problem:
            if "does not exist" in str(problem.__cause__):
                return False
            raise

    def whereabouts(self) -> str:
        """Return the account and the region that the credentials at hand lead to.

        Raises:
            StackError: they lead nowhere.
        """
        try:
            account = self.client("sts").get_caller_identity()["Account"]
        except (ClientError, BotoCoreError) as problem:
            raise StackError(
                f"There is no AWS account at hand: {_told(problem)}. Choose one, and a region, as "
                "for the AWS CLI: for example with AWS_PROFILE and AWS_DEFAULT_REGION."
            ) from problem
        return f"account {account}, region {self.region}"

    @cached_property
    def _description(self) -> Mapping[str, Any]:
        try:
            answer = self.client("cloudformation").describe_stacks(StackName=self.name)
        except (ClientError, BotoCoreError) as problem:
            raise StackError(
                f"The stack {self.name} cannot be read: {_told(problem)}. Is it deployed "
                "(make deploy), and are the region and credentials those of its account?"
            ) from problem
        stack: dict[str, Any] = answer["Stacks"][0]
        return stack

    def secret(self, output: str) -> dict[str, str]:
        """Return what the secret holds that an output, such as `VonageSecretArn`, names.

        Raises:
            StackError: it cannot be read. The message quotes nothing of it.
        """
        secret_id = self.outputs[output]
        try:
            answer = self.client("secretsmanager").get_secret_value(SecretId=secret_id)
            held: dict[str, str] = json.loads(answer["SecretString"])
        except (ClientError, BotoCoreError) as problem:
            raise StackError(f"The secret {secret_id} cannot be read: {problem}.") from problem
        except json.JSONDecodeError:
            raise StackError(f"The secret {secret_id} holds no JSON object.") from None
        return held

    def put_secret(self, output: str, content: str) -> None:
        """Put a new version of the secret that an output names.

        Raises:
            StackError: it cannot be written.
        """
        secret_id = self.outputs[output]
        try:
            client = self.client("secretsmanager")
            client.put_secret_value(SecretId=secret_id, SecretString=content)
        except (ClientError, BotoCoreError) as problem:
            raise StackError(f"The secret {secret_id} cannot be written: {problem}.") from problem

    def callback_secret(self) -> dict[str, str]:
        """Return the callback secret: `token` and `signature_secret`."""
        return self.secret("CallbackSecretArn")

    def callback_path(self) -> str:
        """Return the path that callbacks are posted to, the token included."""
        return f"/callbacks/{quote(self.callback_secret()['token'], safe='')}"

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


def _told(problem: Exception) -> str:
    """Return what the SDK says, some of which ends with a full stop."""
    return str(problem).rstrip(".")
