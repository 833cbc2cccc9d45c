"""Versions of secrets that outlive their labels, for MiniStack.

MiniStack 1.5 deletes a version when it loses its last label. AWS keeps it for 24 hours at least,
and until there are more than 100 ("AWS Secrets Manager quotas"), and lists it when asked for
deprecated versions.

No test can wait for a grace time, so a version whose id (ClientRequestToken) begins with
`25-hours-ago-` counts as created then.
"""

import re
from typing import Any


def install() -> None:
    """Make MiniStack in this process keep every version."""
    from ministack.services import secretsmanager  # noqa: PLC0415 - only there in its process

    promote = secretsmanager._apply_current_promotion

    def promote_and_keep(secret: dict[str, Any], version_id: str) -> None:
        known = dict(secret["Versions"])
        promote(secret, version_id)
        secret["Versions"] = known | secret["Versions"]
        if age := re.match(r"(\d+)-hours-ago-", version_id):
            secret["Versions"][version_id]["CreatedDate"] -= 3600 * int(age[1])

    secretsmanager._apply_current_promotion = promote_and_keep
