"""The permissions of the deployed stack's roles, and their temporary removal."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import boto3
from msgspec import Struct

from local.servers import NEEDED_PERMISSIONS
from local.testing.template import resources
from tests.support.deployed import Deployed

ROLES = list(resources("AWS::IAM::Role"))


class Grant(Struct, frozen=True):
    """One action on one resource that a statement (`sid`) of a role allows."""

    role: str
    sid: str
    action: str
    resource: str

    @property
    def statement(self) -> tuple[str, str]:
        """The role and the id of the statement."""
        return self.role, self.sid


class Roles:
    """The roles of a stack, named by their logical ids in the template."""

    def __init__(self, deployed: Deployed) -> None:
        self._deployed = deployed
        self._iam = deployed.stack.client("iam")

    def grants(self, role: str) -> list[Grant]:
        """Return one grant for each action and resource that the deployed role allows."""
        return [
            Grant(role, statement.get("Sid", name), action, resource)
            for name in self._policies(role)
            for statement in self._statements(role, name)
            for action, resource in product(*_parts(statement))
        ]

    @contextmanager
    def needed(self, role: str) -> Iterator[set[tuple[str, str]]]:
        """Yield a set that has the actions and resources needed within the context at its end.

        A call needs a permission of the role if the local IAM would deny it without that one.
        """
        log, name = self._deployed.folder / NEEDED_PERMISSIONS, self._deployed.id_of(role)
        found = set[tuple[str, str]]()
        with log.open() as lines:
            lines.seek(0, os.SEEK_END)
            yield found
            calls = [json.loads(line) for line in lines]
        found |= {(each["action"], each["resource"]) for each in calls if each["role"] == name}

    @contextmanager
    def without(self, *grants: Grant) -> Iterator[None]:
        """Remove grants from their roles within the context."""
        changed = {(grant.role, name) for grant in grants for name in self._policies(grant.role)}
        before = {(role, name): self._statements(role, name) for role, name in changed}
        try:
            for (role, name), statements in before.items():
                self._put(role, name, _reduced(statements, [g for g in grants if g.role == role]))
            yield
        finally:
            for (role, name), statements in before.items():
                self._put(role, name, statements)

    def session(self, role: str) -> boto3.Session:
        """Return an SDK session with the role's credentials."""
        known = self._iam.get_role(RoleName=self._deployed.id_of(role))["Role"]
        with self._trusting_us(known):
            credentials = self._deployed.stack.client("sts").assume_role(
                RoleArn=known["Arn"], RoleSessionName="torture"
            )["Credentials"]
        return boto3.Session(
            credentials["AccessKeyId"],
            credentials["SecretAccessKey"],
            credentials["SessionToken"],
            region_name=self._deployed.stack.region,
        )

    @contextmanager
    def _trusting_us(self, role: dict[str, Any]) -> Iterator[None]:
        """Let this account assume a role within the context: it trusts only an AWS service."""
        name, trust = role["RoleName"], role["AssumeRolePolicyDocument"]
        account = role["Arn"].split(":")[4]
        ours = {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
            "Action": "sts:AssumeRole",
        }
        widened = trust | {"Statement": [*trust["Statement"], ours]}
        self._iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(widened))
        try:
            yield
        finally:
            self._iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))

    def _policies(self, role: str) -> list[str]:
        name = self._deployed.id_of(role)
        names: list[str] = self._iam.list_role_policies(RoleName=name)["PolicyNames"]
        return names

    def _statements(self, role: str, policy: str) -> list[dict[str, Any]]:
        found = self._iam.get_role_policy(RoleName=self._deployed.id_of(role), PolicyName=policy)
        statements: list[dict[str, Any]] = found["PolicyDocument"]["Statement"]
        return statements

    def _put(self, role: str, policy: str, statements: Sequence[dict[str, Any]]) -> None:
        document = {"Version": "2012-10-17", "Statement": statements or [_NOTHING]}
        self._iam.put_role_policy(
            RoleName=self._deployed.id_of(role),
            PolicyName=policy,
            PolicyDocument=json.dumps(document),
        )


# IAM accepts no policy without a statement.
_NOTHING = {"Effect": "Deny", "Action": "iam:DeleteAccountAlias", "Resource": "*"}


def _parts(statement: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return a statement's actions and resources."""
    actions, resources_ = (
        value if isinstance(value, list) else [value]
        for value in (statement["Action"], statement["Resource"])
    )
    return actions, resources_


def _reduced(statements: Sequence[dict[str, Any]], removed: list[Grant]) -> list[dict[str, Any]]:
    """Return one statement for each action and resource, without those of `removed`."""
    left_out = {(grant.action, grant.resource) for grant in removed}
    return [
        statement
        | {"Sid": f"{statement.get('Sid', '')}{index}"}
        | {"Action": action, "Resource": resource}
        for statement in statements
        for index, (action, resource) in enumerate(product(*_parts(statement)))
        if (action, resource) not in left_out
    ]
