"""The hold of a recording, applied to its copy."""

from roomkeeper.aws.bucket import Bucket
from roomkeeper.domain.recordings import Recording
from roomkeeper.store import Store


def apply_to_copy(store: Store, bucket: Bucket, recording: Recording) -> None:
    """Take a copy in `bucket` out of the bucket's retention if it is on hold, else put it back.

    Another process may hold or release the recording at the same time, and its change of the copy
    may come earlier than this one. The item decides, so it is read again after each change.

    Raises:
        AwsError, StoreUnavailable, CorruptItem: the copy may not be as the item says.
    """
    current: Recording | None = recording
    while current and current.copy and current.copied_at:
        is_held = current.hold is not None
        bucket.keep(current.copy.key, current.copy.version_id, on_hold=is_held)
        current = store.recordings.get(recording.recording_id)
        if current and (current.hold is not None) == is_held:
            return
