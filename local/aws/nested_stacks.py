"""Keeps the attributes of resources that an update of a nested stack does not change.

MiniStack 1.5 loses them, so that a reference to one, such as a role's ARN, fails the update.
"""

from typing import Any


def install() -> None:
    """Patch MiniStack in this process so that it passes the attributes on, as for other stacks."""
    from ministack.services import cloudformation  # noqa: PLC0415 - only in MiniStack's process
    from ministack.services.cloudformation import provisioners  # noqa: PLC0415

    update = provisioners._update_resource

    def update_with_attributes(
        resource_type: str,
        physical_id: str,
        old: dict[str, Any],
        new: dict[str, Any],
        stack_name: str,
        logical_id: str | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> tuple[str, dict[str, Any]]:
        if attributes is None:
            known = cloudformation._stacks[stack_name]["_resources"].get(logical_id, {})
            attributes = known.get("Attributes")
        updated: tuple[str, dict[str, Any]] = update(
            resource_type, physical_id, old, new, stack_name, logical_id, attributes
        )
        return updated

    provisioners._update_resource = update_with_attributes
