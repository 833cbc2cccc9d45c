"""A link to a copy leads to the region of its bucket."""

from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from roomkeeper.aws.bucket import Bucket


@pytest.mark.parametrize("region", ["eu-west-1", "ap-southeast-4"])
def test_a_link_names_the_region_since_the_global_endpoint_redirects(
    region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # "Virtual hosting of buckets": for hours after a bucket is created, the global endpoint may
    # redirect to the region. A pre-signed URL is signed for one host name.
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    url = Bucket("some-copies").url("recordings/a.mp4", "version", timedelta(hours=1))
    assert urlsplit(url).netloc == f"some-copies.s3.{region}.amazonaws.com"


def test_a_link_reaches_an_endpoint_by_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    url = Bucket("some-copies").url("recordings/a.mp4", None, timedelta(hours=1))
    assert url.startswith("http://127.0.0.1:4566/some-copies/recordings/a.mp4?")
