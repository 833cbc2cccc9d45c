"""The operator's bucket for copies: multipart uploads that S3 verifies part by part.

Every part, and every small object, is sent with its SHA-256, which S3 compares with its own.
S3 computes a SHA-256 of a whole object for single uploads only; for multipart uploads it is the
SHA-256 of the parts' checksums (COMPOSITE). So the SHA-256 of the whole file is the copier's task.

An object is created only if none has its key (`If-None-Match: *`): a copy never replaces another.

Source: "Checking object integrity" and "Conditional writes" in the Amazon S3 user guide.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from msgspec import Struct

from roomkeeper.aws import sdk
from roomkeeper.aws.errors import INVALID_RESPONSE, AwsError
from roomkeeper.aws.retries import RetryPolicy
from roomkeeper.domain.copies import FileType, UploadedPart

RETRIES = RetryPolicy(max_attempts=5, timeout=20)
"""The retry policy for S3, whose guide recommends several retries of 500 and SlowDown."""

CONTENT_TYPES: Mapping[FileType, str] = {"mp4": "video/mp4", "zip": "application/zip"}

_EXISTS = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchUpload"}
"""Error codes of an upload if another upload, or an earlier attempt, may have made the object."""


_SENT_AT_ONCE = 1024 * 1024
"""The bytes that are passed to the socket at once. The timeout of a connection applies to each."""

_GONE = {"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed"}
"""Error codes for an object that does not exist. The last one is for a delete marker."""

RETENTION_TAG, LIMITED = "roomkeeper-retention", "limited"
"""The tag of an object that the bucket's retention applies to; a hold changes its value."""


class StoredObject(Struct, frozen=True, kw_only=True):
    """An object. `sha256` is S3's checksum in base64, with `-<number of parts>` if composite."""

    size: int
    sha256: str | None
    version_id: str | None


class Bucket:
    """A bucket. Safe to use from many threads.

    All methods raise AwsError if S3 refuses, or still fails after all attempts.
    """

    def __init__(self, name: str, client: Any = None, *, storage_class: str = "STANDARD") -> None:
        self.name = name
        self._client = client or sdk.s3(RETRIES)
        self._storage_class = storage_class

    def start(self, key: str, file_type: FileType) -> str:
        """Start a multipart upload; return its id. Nothing is visible until it is completed."""
        response = self._client.create_multipart_upload(
            **self._object(key),
            ContentType=CONTENT_TYPES[file_type],
            StorageClass=self._storage_class,
            Tagging=f"{RETENTION_TAG}={LIMITED}",
            ChecksumAlgorithm="SHA256",
            ChecksumType="COMPOSITE",
        )
        upload_id: str = response["UploadId"]
        return upload_id

    def parts(self, key: str, upload_id: str) -> Sequence[UploadedPart] | None:
        """Return the parts that S3 has of an upload; None if the upload no longer exists."""
        found: list[UploadedPart] = []
        page: Mapping[str, Any] = {"IsTruncated": True, "NextPartNumberMarker": 0}
        try:
            while page.get("IsTruncated"):
                page = self._client.list_parts(
                    **self._object(key),
                    UploadId=upload_id,
                    PartNumberMarker=int(page["NextPartNumberMarker"]),
                )
                found += [_part(each) for each in page.get("Parts", ())]
        except AwsError as exc:
            if exc.code == "NoSuchUpload":
                return None
            raise
        return found

    def send(
        self, key: str, upload_id: str, number: int, data: bytearray | memoryview, sha256: str
    ) -> UploadedPart:
        """Upload a part. S3 refuses it if the received bytes have another SHA-256."""
        response = self._client.upload_part(
            **self._object(key),
            UploadId=upload_id,
            PartNumber=number,
            Body=_Body(data),
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=sha256,
        )
        return UploadedPart(number=number, size=len(data), etag=response["ETag"], sha256=sha256)

    def complete(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], size: int
    ) -> StoredObject | None:
        """Create the object from its parts; None if it exists, or the upload does not."""
        chosen = [
            {"PartNumber": part.number, "ETag": part.etag, "ChecksumSHA256": part.sha256}
            for part in parts
        ]
        response = _unless_exists(
            self._client.complete_multipart_upload,
            **self._object(key),
            UploadId=upload_id,
            MultipartUpload={"Parts": chosen},
            ChecksumType="COMPOSITE",
            MpuObjectSize=size,
            IfNoneMatch="*",
        )
        if response is None:
            return None
        return StoredObject(
            size=size, sha256=response.get("ChecksumSHA256"), version_id=response.get("VersionId")
        )

    def put(
        self, key: str, file_type: FileType, data: bytearray, sha256: str
    ) -> StoredObject | None:
        """Create an object in a single request; None if an object has the key already."""
        response = _unless_exists(
            self._client.put_object,
            **self._object(key),
            Body=_Body(data),
            ContentType=CONTENT_TYPES[file_type],
            StorageClass=self._storage_class,
            Tagging=f"{RETENTION_TAG}={LIMITED}",
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=sha256,
            IfNoneMatch="*",
        )
        if response is None:
            return None
        return StoredObject(size=len(data), sha256=sha256, version_id=response.get("VersionId"))

    def abort(self, key: str, upload_id: str) -> None:
        """Remove a multipart upload and its parts; do nothing if it does not exist."""
        try:
            self._client.abort_multipart_upload(**self._object(key), UploadId=upload_id)
        except AwsError as exc:
            if exc.code != "NoSuchUpload":
                raise

    def find(self, key: str) -> StoredObject | None:
        """Return the object; None if there is none.

        The key is looked up in a list: for an object that does not exist, S3 responds 403 to
        callers who may not list the bucket, and the function may list only the copies' prefix.
        """
        listed = self._client.list_objects_v2(Bucket=self.name, Prefix=key, MaxKeys=1)
        if key not in {each["Key"] for each in listed.get("Contents", ())}:
            return None
        try:
            response = self._client.head_object(**self._object(key), ChecksumMode="ENABLED")
        except AwsError as exc:
            if exc.code in {"404", "NoSuchKey"}:
                return None
            raise
        if "ContentLength" not in response:
            raise AwsError(INVALID_RESPONSE, "head_object: the response has no length")
        return StoredObject(
            size=response["ContentLength"],
            sha256=response.get("ChecksumSHA256"),
            version_id=response.get("VersionId"),
        )

    def keep(self, key: str, version_id: str | None, *, on_hold: bool) -> None:
        """Take this version of the object out of the bucket's retention, or put it back.

        The lifecycle rule of the retention selects objects by their tag. Does nothing if the
        version does not exist. S3 then responds 403 to callers who may not list the bucket, so the
        versions are listed to see whether a permission is missing.
        """
        value = "on-hold" if on_hold else LIMITED
        try:
            self._client.put_object_tagging(
                **self._object(key),
                **_version(version_id),
                Tagging={"TagSet": [{"Key": RETENTION_TAG, "Value": value}]},
            )
        except AwsError as exc:
            is_gone = exc.code in _GONE
            if not is_gone and (exc.code != "AccessDenied" or self._may_exist(key, version_id)):
                raise

    def _may_exist(self, key: str, version_id: str | None) -> bool:
        """Return False if the versions can be listed, and this one is not among them."""
        try:
            page = self._client.list_object_versions(Bucket=self.name, Prefix=key)
        except AwsError:
            return True
        listed = [each for each in page.get("Versions", ()) if each["Key"] == key]
        found = any(each["VersionId"] == version_id or not version_id for each in listed)
        return found or bool(page.get("IsTruncated"))

    def delete(self, key: str, version_id: str | None) -> None:
        """Delete this version of the object for good; do nothing if it does not exist."""
        self._client.delete_object(**self._object(key), **_version(version_id))

    def delete_matching(self, key: str, sha256: str) -> bool:
        """Delete the versions of an object that have this S3 checksum; return False without one.

        For an object whose version is not known.
        """
        page = self._client.list_object_versions(Bucket=self.name, Prefix=key)
        versions = [each["VersionId"] for each in page.get("Versions", ()) if each["Key"] == key]
        matching = [each for each in versions if self._checksum(key, each) == sha256]
        for version_id in matching:
            self.delete(key, version_id)
        return bool(matching)

    def _checksum(self, key: str, version_id: str) -> str | None:
        response = self._client.head_object(
            **self._object(key), VersionId=version_id, ChecksumMode="ENABLED"
        )
        found: str | None = response.get("ChecksumSHA256")
        return found

    def url(self, key: str, version_id: str | None, valid_for: timedelta) -> str:
        """Return a URL that downloads this version of the object without credentials: a secret.

        It also stops working when the credentials that signed it expire. Those of a function are
        valid for some hours.
        """
        url: str = self._client.generate_presigned_url(
            "get_object",
            Params={**self._object(key), **_version(version_id)},
            ExpiresIn=int(valid_for.total_seconds()),
        )
        return url

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self.name, "Key": key}


def _unless_exists(operation: Callable[..., Any], **arguments: Any) -> Mapping[str, Any] | None:
    """Return the response to an upload; None if there is an object under the key already."""
    try:
        response: Mapping[str, Any] = operation(**arguments)
    except AwsError as exc:
        if exc.code in _EXISTS:
            return None
        raise
    return response


def _version(version_id: str | None) -> dict[str, str]:
    return {} if version_id is None else {"VersionId": version_id}


class _Body:
    """A buffer that can be read like a file.

    botocore's signer on the Common Runtime reads files only, so botocore would copy the buffer.
    Those copies would take most of the memory until the garbage collector finds them.
    """

    def __init__(self, data: bytearray | memoryview) -> None:
        self._view = memoryview(data)
        self._position = 0

    def __len__(self) -> int:
        return len(self._view)

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._view)}
        self._position = base[whence] + offset
        return self._position

    def read(self, size: int = -1) -> bytes | memoryview:
        """Return the next bytes: at least `size`, or all that remain. They are not copied.

        urllib3 reads 16 KiB at a time, but accepts larger pieces, which need fewer calls.
        """
        if size < 0:
            return bytes(self._next(len(self)))
        return self._next(max(size, _SENT_AT_ONCE))

    def _next(self, size: int) -> memoryview:
        piece = self._view[self._position : self._position + size]
        self._position += len(piece)
        return piece


def _part(listed: Mapping[str, Any]) -> UploadedPart:
    return UploadedPart(
        number=listed["PartNumber"],
        size=listed["Size"],
        etag=listed["ETag"],
        sha256=listed.get("ChecksumSHA256", ""),
    )
