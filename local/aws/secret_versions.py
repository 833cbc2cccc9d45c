"""Makes MiniStack keep versions of secrets that have lost their labels.

MiniStack 1.5 deletes a version with its last label. AWS keeps it for at least 24 hours and until
there are more than 100 versions ("AWS Secrets Manager quotas"), and lists it as deprecated.

A version whose id (ClientRequestToken) starts with `25-hours-ago-` is back-dated by 25 hours, so
that tests need not wait for the grace time.
"""

import re
from typing import Any


def install() -> None:
    """Patch MiniStack in this process so that it keeps every version."""
    from ministack.services import secretsmanager  # noqa: PLC0415 - only there in its process

    promote = secretsmanager._apply_current_promotion

    def promote_and_keep(secret: dict[str, Any], version_id: str) -> None:
        known = dict(secret["Versions"])
        promote(secret, version_id)
        secret["Versions"] = known | secret["Versions"]
        if age := re.match(r"(\d+)-hours-ago-", version_id):
            secret["Versions"][version_id]["CreatedDate"] -= 3600 * int(age[1])

    secretsmanager._apply_current_promotion = promote_and_keep
