"""Makes MiniStack check the permission to tag an object that is uploaded with tags.

MiniStack 1.5 checks only the permission to upload. With this patch, as on AWS, a PutObject or
CreateMultipartUpload with the header `x-amz-tagging` also needs `s3:PutObjectTagging`.

Source: PutObject and CreateMultipartUpload, "Permissions", in the Amazon S3 API reference.
"""

from collections.abc import Mapping
from typing import Any

Check = tuple[str, str]
"""An action and the ARN of its resource."""


def install() -> None:
    """Patch MiniStack in this process so that tags of an upload need their permission."""
    from ministack.core import iam_actions  # noqa: PLC0415 - only in MiniStack's process

    checks_of = iam_actions.s3_additional_checks

    def checks_with_tagging(
        method: str, path: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
    ) -> list[Check]:
        checks: list[Check] = checks_of(method, path, headers, body, query)
        is_upload = method == "PUT" or (method == "POST" and "uploads" in query)
        if is_upload and headers.get("x-amz-tagging"):
            checks.append(("s3:PutObjectTagging", f"arn:aws:s3:::{path.lstrip('/')}"))
        return checks

    iam_actions.s3_additional_checks = checks_with_tagging
