"""`python -m local.aws`: runs the local AWS, in MiniStack's own virtual environment."""

import os
from pathlib import Path

from ministack.app import main

from local.aws import (
    crashes,
    deployer_permissions,
    event_buses,
    function_output,
    schedule_roles,
    secret_versions,
    stream_retries,
    tagged_uploads,
)

crashes.install()
stream_retries.install()
function_output.install(Path(os.environ["FUNCTION_OUTPUT"]))
schedule_roles.install()
deployer_permissions.install()
event_buses.install()
secret_versions.install()
tagged_uploads.install()
main()
