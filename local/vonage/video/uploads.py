"""Upload targets: where a project's archives go after their processing.

Source: Vonage's guides on archive storage, and the released SDKs' storage calls.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from local.vonage.video.archives import Archive, Outcome
from local.vonage.video.projects import PROJECT_IDS


class UploadTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bucket (S3 or compatible) or container (Azure) of the customer."""

    type: Literal["S3", "Azure"] = "S3"
    bucket: Annotated[str, Meta(min_length=1)] = "archives"
    endpoint: str | None = None
    fallback: Literal["opentok", "none"] = "opentok"
    """`opentok` keeps the archive in Vonage's cloud if the upload fails, `none` keeps nothing."""
    works: bool = True
    """Whether uploads succeed."""

    def outcome(self) -> Outcome:
        """Return the status of an archive after its upload."""
        if self.works:
            return "uploaded"
        return "available" if self.fallback == "opentok" else "failed"


class StorageConfig(Struct, kw_only=True):
    """The customer's access to the bucket or container, as the API's clients send it."""

    bucket: str | None = None
    container: str | None = None
    endpoint: str | None = None


class Storage(Struct, kw_only=True):
    """The body of PUT .../archive/storage."""

    type: Literal["S3", "s3", "Azure", "azure"]
    config: StorageConfig
    fallback: Literal["opentok", "none"] = "opentok"

    def target(self) -> UploadTarget:
        """Return the target that the body describes."""
        return UploadTarget(
            type="S3" if self.type.lower() == "s3" else "Azure",
            bucket=self.config.bucket or self.config.container or "archives",
            endpoint=self.config.endpoint,
            fallback=self.fallback,
        )


def key(archive: Archive) -> str:
    """Return the key of an uploaded archive in the customer's bucket."""
    return f"{PROJECT_IDS[archive.environment]}/{archive.id}/{archive.file_name}"


def as_json(target: UploadTarget | None) -> dict[str, Any]:
    """Return the target for the control interface; an empty object without one."""
    if target is None:
        return {}
    return {name: getattr(target, name) for name in target.__struct_fields__}
