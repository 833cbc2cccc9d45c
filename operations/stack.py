"""A deployed stack: its outputs, parameters and secrets, and clients to access it."""

import json
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote, urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from operations import account, products, stack_states
from roomkeeper.aws.secrets import without_blanks
from roomkeeper.domain.observations import Product

_OWN_PARAMETERS = {"CleanupRetentionDays", "RoomExtensionDryRun"}
"""Parameters that identify Roomkeeper's stacks. CloudFormation returns them in every state."""

_GONE = {"DELETE_COMPLETE", "DELETE_SKIPPED"}


class StackError(Exception):
    """A stack cannot be used; the message says why, and what to do."""


class Values(dict[str, str]):
    """A stack's outputs or parameters by name. A missing name raises a StackError."""

    def __init__(self, values: Mapping[str, str], kind: str, reason: str) -> None:
        super().__init__(values)
        self._kind, self._reason = kind, reason

    def __missing__(self, name: str) -> NoReturn:
        raise StackError(f"{self._reason} (The stack has no {self._kind} {name}.)")


class Stack:
    """A stack in the account and region of the environment variables that the AWS CLI reads.

    If AWS_ENDPOINT_URL is set, as for the local AWS, all requests go to that URL.
    """

    def __init__(self, name: str, session: boto3.Session | None = None, endpoint: str = "") -> None:
        self.name = name
        self._session: Any = session or account.session()
        self._endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL", "")
        self._clients: dict[str, Any] = {}

    def client(self, service: str, **options: Any) -> Any:
        """Return an SDK client for the stack's account and region; the same one without `options`.

        Raises:
            StackError: a setting of the SDK, such as AWS_ENDPOINT_URL, is invalid.
        """
        if options:
            return self._new_client(service, **options)
        if service not in self._clients:
            self._clients[service] = self._new_client(service)
        return self._clients[service]

    def _new_client(self, service: str, **options: Any) -> Any:
        try:
            return self._session.client(service, endpoint_url=self._endpoint or None, **options)
        except BotoCoreError:  # some are also a ValueError
            raise
        except ValueError as error:
            raise StackError(
                f"An AWS setting is invalid ({error}): correct the environment variable AWS_... or "
                "the AWS profile."
            ) from error

    @property
    def credentials(self) -> Any:
        """The AWS credentials, to sign requests that are sent without an SDK client."""
        return self._session.get_credentials()

    @property
    def region(self) -> str:
        """The stack's region."""
        name: str = self._session.region_name
        return name

    @property
    def status(self) -> str | None:
        """CloudFormation's status of the stack, read once; None if there is no stack.

        Raises:
            StackError: the stack cannot be read.
        """
        return self._description.get("StackStatus")

    @property
    def id(self) -> str:
        """The stack's unique id, valid even after its deletion; the name if there is no stack."""
        found: str = self._description.get("StackId", self.name)
        return found

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs; a missing output raises a StackError.

        Raises:
            StackError: the stack cannot be read.
        """
        return self._values("Output")

    @cached_property
    def parameters(self) -> Mapping[str, str]:
        """The stack's parameters; empty if there is no stack.

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
        """Return whether the stack exists; a stack with only a change set does not.

        Raises:
            StackError: the stack cannot be read.
        """
        return not stack_states.is_absent(self.status)

    def require_roomkeepers(self) -> None:
        """Raise a StackError if the stack exists and belongs to another application."""
        if self.exists() and not self.parameters.keys() >= _OWN_PARAMETERS:
            raise StackError(
                f"The stack {self.name} belongs to another application: choose Roomkeeper's stack "
                "(ENV=, STACK=)."
            )

    def account_and_region(self) -> str:
        """Return the account and region of the current credentials, in words.

        Raises:
            StackError: AWS rejected the credentials or cannot be reached.
        """
        try:
            number = self.client("sts").get_caller_identity()["Account"]
        except (ClientError, BotoCoreError) as error:
            raise StackError(account.explain(error)) from error
        return f"account {number}, region {self.region}"

    @cached_property
    def _description(self) -> Mapping[str, Any]:
        """CloudFormation's description of the stack; empty if there is no stack."""
        try:
            response = self.client("cloudformation").describe_stacks(StackName=self.name)
        except ClientError as error:
            if "does not exist" in str(error):  # the error code, ValidationError, is not specific
                return {}
            raise self._unreadable(error) from error
        except BotoCoreError as error:
            raise self._unreadable(error) from error
        stack: dict[str, Any] = response["Stacks"][0]
        return stack

    def _unreadable(self, error: ClientError | BotoCoreError) -> StackError:
        return StackError(f"The stack {self.name} cannot be read. {account.explain(error)}")

    def secret(self, output: str) -> dict[str, Any]:
        """Return the fields of the secret that an output, such as `VonageSecretArn`, names.

        Raises:
            StackError: it cannot be read. The message quotes none of its content.
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
        """Store `content` as the new version of the secret that an output names.

        Raises:
            StackError: the secret cannot be written.
        """
        secret_id = self.outputs[output]
        try:
            client = self.client("secretsmanager")
            client.put_secret_value(SecretId=secret_id, SecretString=content)
        except (ClientError, BotoCoreError) as error:
            raise StackError(
                f"The secret {secret_id} cannot be written. {account.explain(error)}"
            ) from error

    @property
    def products(self) -> tuple[Product, ...]:
        """The products that the stack serves."""
        return products.served(self.parameters)

    def callback_secret(self, product: Product = "meetings") -> dict[str, Any]:
        """Return a product's callback secret: `token`, and its signature secrets."""
        return self.secret(products.NAMES[product].callback_secret)

    def callback_path(self, product: Product = "meetings") -> str:
        """Return the path for a product's callbacks, including the token, if there is one.

        Raises:
            StackError: the callback secret cannot be read, or has neither a token nor a signature
                secret that this stack accepts.
        """
        names = products.NAMES[product]
        content = self.callback_secret(product)
        if token := content.get("token"):
            return f"{names.path}/{quote(token, safe='')}"
        has_signature = content.get("signature_secret") or content.get("signature_secrets")
        if has_signature and "signature" in self.parameters["CallbackAcceptedCredentials"]:
            return names.path
        raise StackError(
            f"The secret {self.outputs[names.callback_secret]} has no token: store one with "
            "make configure, as docs/operations.md describes."
        )

    def callback_url(self, product: Product = "meetings") -> str:
        """Return a product's URL to enter at Vonage."""
        return f"{self.base_url}{self.callback_path(product)}"

    @cached_property
    def base_url(self) -> str:
        """The base URL of the stack's HTTP API."""
        names = products.NAMES[self.products[0]]
        return self._endpoint or self.outputs[names.url_output].removesuffix(names.path)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The headers that every HTTP request needs: on the local AWS, the host of the API."""
        if not self._endpoint:
            return {}
        # The callback URL may be on a domain of the operator.
        api_id = (urlsplit(self.outputs["ManagementUrl"]).hostname or "").partition(".")[0]
        port = urlsplit(self._endpoint).port
        return {"Host": f"{api_id}.execute-api.localhost:{port}"}


def deployed_stack(name: str) -> Stack:
    """Return the stack `name` if its outputs can be used.

    Raises:
        StackError: it does not exist, is not ready, has no outputs, or belongs to another
            application.
    """
    stack = Stack(name)
    if reason := stack_states.why_not_usable(name, stack.status):
        raise StackError(reason)
    stack.require_roomkeepers()
    if not stack.outputs:
        raise StackError(f"{_missing(name)} (The stack has no outputs.)")
    return stack


class Resource(NamedTuple):
    """A resource of a stack or of a stack nested in it.

    The logical id of one in a nested stack is that of both, such as `Monitoring/AlarmTopic`.
    """

    type: str
    logical_id: str
    physical_id: str


def resource_ids(stack: Stack, resource_type: str) -> dict[str, str]:
    """Return the physical ids of the stack's resources of a type, by logical id.

    This works in every state of the stack. Resources that were deleted or kept are left out, and
    resources of nested stacks are included.
    """
    return {each.logical_id: each.physical_id for each in resources(stack, resource_type)}


def resources(stack: Stack, resource_type: str = "") -> Iterator[Resource]:
    """Yield the resources of `resource_ids`; those of all types if none is given."""
    formation = stack.client("cloudformation")
    return (each for each in _resources(formation, stack.name) if resource_type in ("", each.type))


def _resources(formation: Any, stack_name: str, prefix: str = "") -> Iterator[Resource]:
    """Yield all resources of a stack and of its nested stacks; `prefix` is before each logical id.

    This calls ListStackResources, which has pages: DescribeStackResources returns at most 100
    resources (CloudFormation API Reference).
    """
    pages = formation.get_paginator("list_stack_resources").paginate(StackName=stack_name)
    for given in (each for page in pages for each in page["StackResourceSummaries"]):
        physical_id = given.get("PhysicalResourceId")
        if physical_id and given.get("ResourceStatus") not in _GONE:
            logical_id = prefix + given["LogicalResourceId"]
            yield Resource(given["ResourceType"], logical_id, physical_id)
            if given["ResourceType"] == "AWS::CloudFormation::Stack":
                yield from _resources(formation, physical_id, f"{logical_id}/")


def _missing(name: str) -> str:
    return (
        f"The stack {name} belongs to another application or another version of Roomkeeper: "
        "choose another stack (ENV=, STACK=), or update it with make deploy."
    )


def _fields(secret_id: str, content: str) -> dict[str, Any]:
    """Return the fields of a secret, as the functions read them; an error quotes no content."""
    try:
        fields = json.loads(content)
    except json.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        raise StackError(
            f"The secret {secret_id} is not a JSON object: replace its value in Secrets Manager "
            "with a JSON object of its fields."
        )
    found: dict[str, Any] = without_blanks(fields)
    return found
