"""`python -m local.aws`: runs the local AWS, in MiniStack's own virtual environment."""

import os
from pathlib import Path

from ministack.app import main

from local.aws import (
    company_rules,
    crashes,
    deployer_permissions,
    event_buses,
    function_output,
    layers,
    needed_permissions,
    nested_stacks,
    schedule_roles,
    schedule_sweeps,
    secret_versions,
    stream_retries,
    tagged_uploads,
)

os.environ.pop("PYTHONPYCACHEPREFIX", None)  # functions use the bytecode that they were built with
crashes.install()
stream_retries.install()
function_output.install(Path(os.environ["FUNCTION_OUTPUT"]))
layers.install(Path(os.environ["TMPDIR"]) / "layers")
schedule_roles.install()
company_rules.install()
nested_stacks.install()
schedule_sweeps.install()
deployer_permissions.install()
event_buses.install()
secret_versions.install()
tagged_uploads.install()
needed_permissions.install(Path(os.environ["NEEDED_PERMISSIONS"]))
main()
