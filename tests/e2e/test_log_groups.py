"""The access log's group has the stack's id in its name."""

import re

from tests.support.deployed import Deployed


def test_the_access_logs_group_has_the_stacks_name_and_id(deployed: Deployed) -> None:
    group = deployed.id_of("HttpApiAccessLogs")
    described = deployed.stack.client("cloudformation").describe_stacks(
        StackName=deployed.stack.name
    )
    unique = described["Stacks"][0]["StackId"].rsplit("/", 1)[1]
    assert re.fullmatch(r"[0-9a-f-]{36}", unique)
    assert group == f"/aws/vendedlogs/{deployed.stack.name}/http-api/{unique}"
    found = deployed.stack.client("logs").describe_log_groups(logGroupNamePrefix=group)
    assert [each["logGroupName"] for each in found["logGroups"]] == [group]
