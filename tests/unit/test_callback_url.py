"""`make callback-url` prints each product's URL and where to enter it; PRODUCT= selects one."""

import sys
from typing import Any

import pytest

from operations import callback_url, layout, products
from operations.products import NotChosen
from operations.stack import Stack, Values
from roomkeeper.domain.observations import Product

TOKENS = {"CallbackSecretArn": "token-of-meetings", "VideoCallbackSecretArn": "token-of-video"}


class DescribedStack(Stack):
    """A stack with these products, whose secrets are in this process."""

    def __init__(self, served: str, accepted: str = "token-or-signature", **secret: Any) -> None:
        super().__init__("a-stack", session=object())  # type: ignore[arg-type]
        urls = {
            products.NAMES[each].url_output: f"https://api.example{products.NAMES[each].path}"
            for each in products.served({"Products": served})
        }
        # Cached properties: these values are never read from AWS.
        self.outputs = Values(urls, "output", "missing")
        self.parameters = Values(
            {"Products": served, "CallbackAcceptedCredentials": accepted}, "parameter", "missing"
        )
        self._secret = secret

    def secret(self, output: str) -> dict[str, Any]:
        return {"token": TOKENS[output], **self._secret}


def printed(
    stack: Stack, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch, *arguments: str
) -> tuple[list[str], str]:
    """Return the lines on standard output, and the words on standard error."""
    patch.delenv("AWS_ENDPOINT_URL", raising=False)
    patch.setattr(callback_url, "deployed_stack", lambda _name: stack)
    patch.setattr("sys.argv", ["callback_url", *arguments])
    assert callback_url.main() == 0
    written = capsys.readouterr()
    return written.out.splitlines(), " ".join(written.err.split())


@pytest.mark.parametrize(
    ("served", "arguments", "urls"),
    [
        ("meetings", [], ["https://api.example/callbacks/token-of-meetings"]),
        ("video", [], ["https://api.example/callbacks/video/token-of-video"]),
        (
            "both",
            [],
            [
                "https://api.example/callbacks/token-of-meetings",
                "https://api.example/callbacks/video/token-of-video",
            ],
        ),
        ("both", ["--product", "video"], ["https://api.example/callbacks/video/token-of-video"]),
    ],
)
def test_standard_output_has_only_the_urls_of_the_products(
    served: str,
    arguments: list[str],
    urls: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = DescribedStack(served)
    assert printed(stack, capsys, monkeypatch, *arguments)[0] == urls


def test_video_has_its_places_in_both_environments_and_a_secret_for_each_url(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = DescribedStack("video", signature_secrets=["one-secret", "two-secrets"])
    _urls, text = printed(stack, capsys, monkeypatch)
    for phrase in (
        "Applications, your application, capability Video",
        "the archive status, and in the one for session monitoring",
        "account portal, your project: enter the URL under Archiving: Configure Callback URL, and "
        "under Session Monitoring",
        "up to 30 minutes",
        "Signature secrets stored here: 2.",
        "1 to 50 characters, one for each URL",
        'make configure PRODUCT=video with {"signature_secrets": ["...", "..."]}',
    ):
        assert phrase in text
    assert "one-secret" not in text


def test_the_instructions_are_wrapped_to_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    for instruction in callback_url.instructions(DescribedStack("video"), "video"):
        layout.line(instruction, 2, sys.stderr)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 8
    assert max(map(len, lines)) <= 60


@pytest.mark.parametrize(
    ("accepted", "shown", "not_shown"),
    [
        ("token", "checks the token in the URL only", "signature secret of"),
        ("signature", "stored here: 0. Every callback is rejected until there is one.", "only ("),
        ("token-or-signature", "stored here: 0. Beside each URL", "Every callback is rejected"),
    ],
)
def test_the_text_about_signatures_depends_on_the_accepted_credentials(
    accepted: str,
    shown: str,
    not_shown: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _urls, text = printed(DescribedStack("video", accepted), capsys, monkeypatch)
    assert shown in text
    assert not_shown not in text


@pytest.mark.parametrize(
    ("content", "secrets"),
    [
        ({"signature_secret": "a"}, ["a"]),
        ({"signature_secret": ""}, []),
        ({"signature_secrets": ["a", "", "b"]}, ["a", "b"]),
        ({}, []),
    ],
)
def test_signature_secrets_are_found_in_the_form_of_either_product(
    content: dict[str, Any], secrets: list[str]
) -> None:
    assert callback_url.signature_secrets(content) == secrets


def test_a_product_that_is_not_served_is_named_with_what_to_do() -> None:
    with pytest.raises(NotChosen, match=r"serves Video only: choose PRODUCT=video.*Products=both"):
        products.selected({"Products": "video"}, "meetings")


def test_one_product_must_be_chosen_only_where_there_are_two() -> None:
    only: dict[str, Product] = {"meetings": "meetings", "video": "video"}
    for served, product in only.items():
        assert products.only_one({"Products": served}, "") == product
    assert products.only_one({"Products": "both"}, "video") == "video"
    assert products.only_one({}, "") == "meetings"  # a stack of an earlier version
    with pytest.raises(NotChosen, match="add PRODUCT=meetings or PRODUCT=video"):
        products.only_one({"Products": "both"}, "")


def test_the_local_stacks_url_is_one_that_curl_accepts() -> None:
    stack = DescribedStack("video")
    stack.headers = {"Host": "an-api.execute-api.localhost:4566"}
    url = callback_url.url_to_enter(stack, "video")
    assert url == "http://an-api.execute-api.localhost:4566/callbacks/video/token-of-video"
