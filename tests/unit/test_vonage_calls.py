from urllib.parse import unquote

import pytest
import requests
import urllib3
from hypothesis import assume, example, given
from hypothesis import strategies as st

from roomkeeper.vonage import InvalidId, NotFound
from roomkeeper.vonage.calls import path

BASE = "https://api-eu.vonage.com/beta/meetings"

nasty = st.text(alphabet=st.sampled_from("/\\?#.%2fFeE;:@&=+ ~a\n\0")) | st.text()


def test_published_ids_are_not_changed_by_quoting() -> None:
    session_id = "2_MX40NjMzOTg5Mn5-MTYzNTg2ODUxNzIzNH5mOUVub3hPNCt6czlwQzdvaTYvbm5lOTN-fg"
    url_path = path("GET", "sessions", session_id, "recordings")
    assert url_path == f"/sessions/{session_id}/recordings"


@pytest.mark.parametrize(
    ("given_id", "quoted"),
    [
        ("a/b", "a%2Fb"),
        ("a?b=c", "a%3Fb%3Dc"),
        ("a#b", "a%23b"),
        ("a%2fb", "a%252fb"),
        ("a..b", "a..b"),
        ("...", "..."),
        ("%2e%2e", "%252e%252e"),
    ],
)
def test_an_id_is_quoted(given_id: str, quoted: str) -> None:
    assert path("GET", "rooms", given_id) == f"/rooms/{quoted}"


@pytest.mark.parametrize(
    "given_id",
    ["", ".", "..", "../recordings/x", "a/../b", "x/..", "..\\x", "/x", "\ud800", chr(0xDFFF)],
)
def test_an_id_that_would_address_another_resource_is_not_sent(given_id: str) -> None:
    with pytest.raises(InvalidId) as caught:
        path("DELETE", "rooms", given_id)
    assert isinstance(caught.value, NotFound)
    assert (caught.value.method, caught.value.path) == ("DELETE", "/rooms/...")


@pytest.mark.parametrize(
    ("length", "shown"), [(80, f"'/{'x' * 79}' is"), (81, f"'/{'x' * 79}...' is")]
)
def test_an_error_shows_at_most_80_characters_of_an_id(length: int, shown: str) -> None:
    with pytest.raises(InvalidId) as caught:
        path("GET", "rooms", "/".ljust(length, "x"))
    assert shown in str(caught.value)


@given(nasty)
@example("x" * 10_000)
@example("..%2frecordings%2fx")
def test_any_id_stays_one_path_segment(given_id: str) -> None:
    try:
        url_path = path("GET", "sessions", given_id, "recordings")
    except InvalidId:
        assume(False)
    url = requests.Request("GET", BASE + url_path).prepare().url
    wire = urllib3.util.parse_url(url or "")  # the URL that urllib3 finally sends
    assert (wire.host, wire.query, wire.fragment) == ("api-eu.vonage.com", None, None)
    segments = (wire.path or "").split("/")
    assert [unquote(segment) for segment in segments] == [
        *("", "beta", "meetings", "sessions"),
        given_id,
        "recordings",
    ]


@given(nasty)
def test_a_proxy_that_unquotes_an_id_finds_no_dot_segment(given_id: str) -> None:
    try:
        url_path = path("GET", "rooms", given_id)
    except InvalidId:
        assume(False)
    assert not {".", ".."} & set(unquote(url_path).replace("\\", "/").split("/"))
