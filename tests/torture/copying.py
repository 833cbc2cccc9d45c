"""Recordings to copy on a deployed stack, their copies, and how often they were read."""

import hashlib
import re
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import local.clients.jobs
from local.clients.management import ManagementApi
from local.waiting import wait_until
from roomkeeper.domain.copies import MIB, Copy
from roomkeeper.domain.recordings import Recording
from roomkeeper.store.items import serialize
from tests.support import jobs
from tests.support.deployed import WITHIN, Deployed
from tests.support.measurements import Measurements

LONG_AGO = timedelta(days=31)
"""The age to which recordings are back-dated: past the retention, with the next attempt due."""

COPIER = "RecordingCopierName"
"""The stack's output that names the function."""

_DESCRIBES = "bytes=0-0"
"""The range that asks only for a file's size and ETag. Each attempt to copy begins with it."""


class Copies:
    """The copies of a stack's recordings. Create it before the recordings."""

    def __init__(self, deployed: Deployed) -> None:
        self._deployed = deployed
        self.store = deployed.store().recordings
        self._management = ManagementApi(deployed.stack)
        self._s3 = deployed.stack.client("s3")
        self._bucket = deployed.stack.outputs["CopyBucketName"]
        self._uploads_before = self.unfinished_uploads()
        self._keys_before = set(self._keys())

    # --- recordings -------------------------------------------------------------------------------

    def upload(self, sizes: Iterable[int]) -> list[str]:
        """Have Vonage upload recordings of these sizes in bytes, of both products in turn."""
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(self._upload, *zip(*enumerate(sizes), strict=True)))

    def _upload(self, index: int, size: int) -> str:
        vonage = self._deployed.vonage
        if index % 2:
            return str(vonage.video.play_session(size=size, participants=[])["archive_ids"][0])
        [id_] = vonage.add_recordings(1, status="stopped", size=size)["recording_ids"]
        vonage.upload(id_)
        return str(id_)

    def uncopied(self, ids: Iterable[str]) -> list[Recording]:
        """Return the recordings that have no copy yet."""
        return [each for each in self.store.get_many(ids).values() if each.copied_at is None]

    def age(self, recordings: Iterable[Recording]) -> None:
        """Back-date these recordings."""
        for each in recordings:
            self._set_past(each, "since, uploaded_at", "attribute_not_exists(copied_at)")

    def end_claims(self, recordings: Iterable[Recording]) -> None:
        """Back-date the ends of these claims, unless another invocation has the recording now."""
        for each in recordings:
            if each.copy_claimed_until:
                known = {":known": serialize(each.copy_claimed_until)}
                condition = "copy_claimed_until = :known AND attribute_not_exists(copied_at)"
                self._set_past(each, "copy_claimed_until", condition, **known)

    def _set_past(
        self, recording: Recording, attributes: str, condition: str, **values: Any
    ) -> None:
        client = self._deployed.stack.client("dynamodb")
        sets = ", ".join(f"{each} = :past" for each in attributes.split(", "))
        with suppress(client.exceptions.ConditionalCheckFailedException):  # it was copied meanwhile
            client.update_item(
                TableName=self._deployed.stack.outputs["TableName"],
                Key={"pk": {"S": f"RECORDING#{recording.recording_id}"}},
                UpdateExpression=f"SET {sets}",
                ConditionExpression=condition,
                ExpressionAttributeValues={
                    ":past": serialize(datetime.now(UTC) - LONG_AGO),
                    **values,
                },
            )

    def sweep(self) -> bool:
        """Run the sweep; return whether it queued the waiting recordings."""
        return local.clients.jobs.post(self._deployed.stack, "copying", {}).ok

    def _copy_on_demand(self, recordings: Iterable[Recording]) -> None:
        for each in recordings:
            self._management.call("POST", f"/recordings/{each.recording_id}/copy")

    def finish(self, ids: Sequence[str], within: float) -> bool:
        """Queue what has no copy until each has one; return whether that is so in time."""

        def is_done() -> bool:
            left = self.uncopied(ids)
            if left and not self._is_any_at_work():
                self.end_claims(left)  # the writes that should have given them back failed
                self.age(left)
                if not self.sweep():  # some of its calls failed; an operator would name the rest
                    self._copy_on_demand(left)
            return not left

        return wait_until(is_done, within, interval=2)

    def _is_any_at_work(self) -> bool:
        """Return whether an invocation copies anything."""
        return bool(jobs.at_work(self._deployed, self._deployed.stack.outputs[COPIER]))

    def is_claimed(self, recording_id: str) -> bool:
        """Return whether an invocation copies a recording, as far as the table knows."""
        known = self.store.get(recording_id)
        until = known.copy_claimed_until if known else None
        return until is not None and until > datetime.now(UTC)

    # --- what became of them ----------------------------------------------------------------------

    def require(self, expected: Mapping[str, set[str]], measurements: Measurements) -> None:
        """Fail unless the bucket has each recording once, with an expected SHA-256, and no others.

        `expected` has the files' SHA-256 in base64.
        """
        found = self.store.get_many(expected)
        wrong = [id_ for id_, each in found.items() if not self._is_right(each, expected[id_])]
        keys = Counter(self._keys())
        ours = {each.copy.key for each in found.values() if each.copy}
        repeated = [key for key in ours if keys[key] != 1]
        stray = set(keys) - self._known_keys() - self._keys_before
        announced = self._announcements(expected)
        not_once = [id_ for id_ in expected if len(announced[id_]) != 1]
        measurements.add(
            "copies",
            tried=len(expected),
            bytes=sum(each.copy.size for each in found.values() if each.copy),
            wrong=len(wrong) + len(expected) - len(found),
            stray=len(stray) + len(repeated),
            not_announced_once=len(not_once),
        )
        assert found.keys() == expected.keys()
        assert not wrong, [(found[id_], expected[id_]) for id_ in wrong]
        assert (repeated, stray) == ([], set()), keys
        assert not not_once, {id_: (announced[id_], found[id_]) for id_ in not_once}

    def _is_right(self, recording: Recording, expected: set[str]) -> bool:
        copy = recording.copy
        return copy is not None and copy.sha256 in expected and self._sha256(copy) == copy.sha256

    def _sha256(self, copy: Copy) -> str:
        digest = hashlib.sha256()
        body = self._s3.get_object(Bucket=copy.bucket, Key=copy.key)["Body"]
        for piece in body.iter_chunks(MIB):
            digest.update(piece)
        return b64encode(digest.digest()).decode()

    def _keys(self) -> Iterator[str]:
        """Yield the key of every version of every object."""
        pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=self._bucket)
        for page in pages:
            yield from (each["Key"] for each in page.get("Versions", ()))

    def _known_keys(self) -> set[str]:
        """Return the keys of all copies in the table."""
        pages = self._deployed.stack.client("dynamodb").get_paginator("scan")
        scanned = pages.paginate(TableName=self._deployed.stack.outputs["TableName"])
        items = [item for page in scanned for item in page["Items"] if "copied_at" in item]
        return {item["copy"]["M"]["key"]["S"] for item in items if "copy" in item}

    def _announcements(self, ids: Iterable[str]) -> Mapping[str, set[str]]:
        """Wait for all `recording:copied`; return the events' ids by recording."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        wanted = set(ids)

        def have_come(events: Sequence[dict[str, Any]]) -> bool:
            for each in events:
                if each["detail-type"] == "recording:copied":
                    detail = each["detail"]
                    found[detail["data"]["recording_id"]].add(detail["metadata"]["event_id"])
            return wanted <= found.keys()

        self._deployed.subscriber.wait_for(have_come, WITHIN)
        return found

    def unfinished_uploads(self) -> dict[str, str]:
        """Return the multipart uploads that are neither complete nor aborted: ids and keys."""
        found = self._s3.list_multipart_uploads(Bucket=self._bucket)
        return {each["UploadId"]: each["Key"] for each in found.get("Uploads", ())}

    def stray_parts(self) -> list[str]:
        """Return the unfinished uploads since the start of the test that have any part.

        One without a part is left when the response to its start is lost, or the function is killed
        then. It costs nothing, and the bucket's lifecycle removes it.
        """
        return [
            upload
            for upload, key in self.unfinished_uploads().items()
            if upload not in self._uploads_before and self._has_parts(upload, key)
        ]

    def _has_parts(self, upload: str, key: str) -> bool:
        arguments = {"Bucket": self._bucket, "Key": key, "UploadId": upload}
        return bool(self._s3.list_parts(**arguments).get("Parts"))

    def drop(self, ids: Iterable[str]) -> None:
        """Delete the objects from the local bucket's memory; the table keeps its items."""
        for each in self.store.get_many(ids).values():
            if each.copy:
                version = {"VersionId": each.copy.version_id} if each.copy.version_id else {}
                self._s3.delete_object(Bucket=self._bucket, Key=each.copy.key, **version)


def sha256_at_vonage(deployed: Deployed, id_: str) -> str:
    """Return the SHA-256 of a recording's current file at Vonage, in base64."""
    return str(deployed.vonage.video.file(id_)["sha256sum"])


def attempts(deployed: Deployed, recording_id: str) -> list[list[range]]:
    """Return the attempts to copy a file that read any of it: the bytes that each asked for."""
    found = list[list[range]]()
    for each in deployed.vonage.requests():
        if each["operation"] != "download" or recording_id not in each["path"]:
            continue
        if each["range"] == _DESCRIBES:
            found.append([])
            continue
        first, last = map(int, re.findall(r"\d+", each["range"]))
        found[-1].append(range(first, last + 1))
    return [each for each in found if each]


def read_again(made: Sequence[Sequence[range]]) -> list[int]:
    """Return how many bytes each attempt asked for although one before may have read them.

    An attempt reads a file in order, from where it begins to its end, or until it is cut off.
    """
    ends = [max(each.stop for each in attempt) for attempt in made]
    starts = [min(each.start for each in attempt) for attempt in made]
    return [max(0, end - start) for end, start in zip(ends, starts[1:], strict=False)]
