"""The states of a CloudFormation stack, and the operator's options in each of them.

`sam deploy` creates a stack that is absent or REVIEW_IN_PROGRESS and updates every other stack
(samcli/lib/deploy/deployer.py, has_stack). CloudFormation rejects that update in the states that
`why_not_deployable` names. Source: CloudFormation User Guide, "Stack status codes".
"""

FAILED_CREATION = {"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"}
"""The first deployment failed. CloudFormation can only delete such a stack, not update it."""

_ABSENT = {None, "DELETE_COMPLETE", "REVIEW_IN_PROGRESS"}
_WITHOUT_OUTPUTS = {"CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS", "IMPORT_IN_PROGRESS"}


def is_absent(status: str | None) -> bool:
    """Return whether a deployment creates the stack. REVIEW_IN_PROGRESS has no resources yet."""
    return status in _ABSENT


def is_in_progress(status: str | None) -> bool:
    """Return whether CloudFormation is working on the stack."""
    return not is_absent(status) and str(status).endswith("_IN_PROGRESS")


def why_not_deployable(name: str, status: str | None) -> str | None:
    """Return why the stack cannot be deployed now and what to do; None if it can."""
    if is_in_progress(status):
        return f"{_in_progress(name, status)}, then run make deploy again."
    if status == "DELETE_FAILED":
        return _half_deleted(name)
    if status == "UPDATE_FAILED":  # only after a deployment with --disable-rollback
        return (
            f"The last deployment of stack {name} failed and was not rolled back (UPDATE_FAILED): "
            f"run `aws cloudformation rollback-stack --stack-name {name}` and then make deploy, or "
            "make deploy ARGS=--disable-rollback."
        )
    if status == "UPDATE_ROLLBACK_FAILED":
        return (
            f"The rollback of stack {name} failed (UPDATE_ROLLBACK_FAILED): run `aws "
            f"cloudformation continue-update-rollback --stack-name {name}`, then make deploy."
        )
    return None


def why_not_usable(name: str, status: str | None) -> str | None:
    """Return why the stack's outputs cannot be used and what to do; None if they can."""
    if is_absent(status):
        return (
            f"The stack {name} does not exist: deploy it (make deploy), or choose another stack "
            "(ENV=, STACK=) or region (AWS_REGION)."
        )
    if status in FAILED_CREATION:
        return (
            f"The first deployment of stack {name} failed ({status}): run make deploy, which "
            "deletes the remains and starts over."
        )
    if status == "DELETE_FAILED":
        return _half_deleted(name)
    if status == "DELETE_IN_PROGRESS" or status in _WITHOUT_OUTPUTS:
        return f"{_in_progress(name, status)}, then run the command again."
    return None


def why_not_deletable(name: str, status: str | None) -> str | None:
    """Return why the stack cannot be deleted now and what to do; None if it can."""
    if is_in_progress(status) and status != "DELETE_IN_PROGRESS":
        return f"{_in_progress(name, status)}, then run make destroy again."
    return None


def _in_progress(name: str, status: str | None) -> str:
    return f"CloudFormation is working on stack {name} ({status}): wait until it has finished"


def _half_deleted(name: str) -> str:
    return (
        f"The stack {name} is only partly deleted (DELETE_FAILED): run make destroy to delete the "
        "rest, then make deploy."
    )
