"""A stack for unit tests of the operator's commands: moto for all services but CloudFormation."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

from operations import products
from operations.stack import StackError
from roomkeeper.domain.observations import Product

BUS, QUEUE_NAME = "a-stack", "dead-letters"


class AStack:
    """The part of operations.stack.Stack that commands use. `clients` replace moto's by name."""

    name = "a-stack"
    base_url = "https://api.example"
    headers: Mapping[str, str] = {}
    region = "eu-west-1"

    def __init__(self, table: str = "", **clients: Any) -> None:
        self.status = "CREATE_COMPLETE"
        self.outputs = {"EventBusName": BUS, "TableName": table}
        self.parameters: dict[str, str] = {}
        self.resources: dict[str, dict[str, str]] = {}
        self.nested: dict[str, dict[str, dict[str, str]]] = {}
        """The resources of each nested stack, by its physical id in `resources`."""
        self.secret: dict[str, Any] = {
            "token": "a-token",
            "signature_secret": "a-signature-secret",
        }
        self._clients = {"cloudformation": _Formation(self), **clients}

    def client(self, service: str) -> Any:
        return self._clients.get(service) or boto3.client(service, region_name=self.region)  # type: ignore[call-overload]

    def account_and_region(self) -> str:
        return "account 123456789012, region eu-west-1"

    @property
    def products(self) -> tuple[Product, ...]:
        return products.served(self.parameters)

    def callback_secret(self, _product: Product) -> dict[str, Any]:
        return self.secret

    def callback_path(self, product: Product) -> str:
        path = products.NAMES[product].path
        return f"{path}/{self.secret['token']}" if self.secret.get("token") else path

    def callback_url(self, product: Product) -> str:
        return f"{self.base_url}{self.callback_path(product)}"


class _Formation:
    def __init__(self, stack: AStack) -> None:
        self._stack = stack

    def describe_stacks(self, StackName: str) -> Any:  # noqa: ARG002, N803
        at = datetime(2026, 11, 20, tzinfo=UTC)
        return {"Stacks": [{"StackStatus": self._stack.status, "CreationTime": at}]}

    def get_paginator(self, operation: str) -> "_Formation":
        assert operation == "list_stack_resources"
        return self

    def paginate(self, StackName: str) -> Iterator[Any]:  # noqa: N803
        stacks = {self._stack.name: self._stack.resources, **self._stack.nested}
        for kind, ids in stacks[StackName].items():
            for logical, physical in ids.items():  # one per page, so commands must read all pages
                found = {"LogicalResourceId": logical, "PhysicalResourceId": physical}
                yield {"StackResourceSummaries": [{**found, "ResourceType": kind}]}


class Refusing:
    """A client whose every call raises AccessDenied."""

    def __getattr__(self, name: str) -> Any:
        def refuse(*_args: Any, **_options: Any) -> Any:
            error: Any = {"Code": "AccessDenied", "Message": f"not authorized: {name}"}
            raise ClientError({"Error": error}, name)

        return refuse


__all__ = ["BUS", "QUEUE_NAME", "AStack", "Refusing", "StackError"]
