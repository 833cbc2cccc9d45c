"""The deployed functions and temporary changes of their configuration."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from local.waiting import wait_until
from tests.support.deployed import WITHIN, Deployed


def named(deployed: Deployed) -> dict[str, str]:
    """Return the names of the stack's functions by their logical ids."""
    resources = deployed.stack.client("cloudformation").describe_stack_resources(
        StackName=deployed.stack.name
    )["StackResources"]
    return {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for each in resources
        if each["ResourceType"] == "AWS::Lambda::Function"
    }


@contextmanager
def configured(deployed: Deployed, name: str, **variables: str) -> Iterator[None]:
    """Add variables to a function's environment within the context; Lambda starts new processes."""
    known = deployed.stack.client("lambda").get_function_configuration(FunctionName=name)
    before: Mapping[str, str] = known["Environment"]["Variables"]
    configure(deployed, name, {**before, **variables})
    try:
        yield
    finally:
        configure(deployed, name, before)


@contextmanager
def all_configured(deployed: Deployed, **variables: str) -> Iterator[None]:
    """Add variables to every function's environment within the context."""
    with ExitStack() as exits:
        for name in named(deployed).values():
            exits.enter_context(configured(deployed, name, **variables))
        yield


def configure(deployed: Deployed, name: str, variables: Mapping[str, str]) -> None:
    """Replace a function's environment and wait until the update is complete."""
    functions = deployed.stack.client("lambda")
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": dict(variables)}
    )

    def is_complete() -> bool:
        known = functions.get_function_configuration(FunctionName=name)
        return bool(known["LastUpdateStatus"] == "Successful")

    assert wait_until(is_complete, WITHIN)
