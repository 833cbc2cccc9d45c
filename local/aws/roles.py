"""Evaluates the permissions of IAM roles in MiniStack."""

from typing import Any


def role_allows(role_arn: str, service: str, action: str, resource: str) -> bool:
    """Return whether `service` may assume the role and the role allows `action` on `resource`."""
    from ministack.core import iam_evaluator  # noqa: PLC0415 - only in MiniStack's process
    from ministack.services import iam  # noqa: PLC0415

    account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    role = iam._roles.get_scoped(account, None, name)
    if role is None:
        return False

    def context(action: str, resource: str, **more: Any) -> Any:
        root = f"arn:aws:iam::{account}:root"  # the identity of MiniStack's own services
        return iam_evaluator.EvalContext(root, "Root", account, action, resource, "", **more)

    trust = role["AssumeRolePolicyDocument"]
    assuming = context("sts:AssumeRole", role_arn, service_context={"aws:sourceaccount": account})
    trusted = service in str(trust) and iam_evaluator.evaluate_trust_policy(
        trust, assuming.principal_arn, assuming
    )
    policies = iam_evaluator._gather_role_policies(name, account)
    acting = context(action, resource)
    return bool(trusted) and iam_evaluator.evaluate(acting, policies).decision == "Allow"
