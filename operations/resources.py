"""A stack's resources: their ids by the names that the template gives them."""

from operations.stack import Stack


def physical_ids(stack: Stack, resource_type: str) -> dict[str, str]:
    """Return the physical ids of the stack's resources of a type, by their logical ids.

    ListStackResources has pages; DescribeStackResources ends after 100 resources (CloudFormation
    API Reference), and the template has more.
    """
    pages = stack.client("cloudformation").get_paginator("list_stack_resources")
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in pages.paginate(StackName=stack.name)
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == resource_type and resource.get("PhysicalResourceId")
    }
