"""The pages are correct and complete: links work, and every public name is documented."""

import json
import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from operations.template import ROOT, parameters, template
from roomkeeper.callbacks import video
from roomkeeper.domain.events import RECEIVED_AT
from roomkeeper.store.correlation import event_id_for_observation
from tools import reference

PAGES = sorted(
    Path(name)
    for name in subprocess.check_output(["git", "ls-files", "*.md"], cwd=ROOT, text=True).split()
)
TARGETS = re.findall(r"^([a-z][a-z-]*):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


@cache
def tokens(page: Path) -> list[Token]:
    return (
        MarkdownIt("commonmark", {"html": False}).enable("table").parse((ROOT / page).read_text())
    )


def links(page: Path) -> list[str]:
    """Return the targets of the page's links and pictures."""
    inline = [each for token in tokens(page) for each in token.children or ()]
    found = [token.attrGet("href") or token.attrGet("src") for token in inline]
    return [str(each) for each in found if each]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the page's headings, as hosts of Markdown derive them."""
    listed = tokens(page)
    texts = [listed[i + 1].content for i, each in enumerate(listed) if each.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            assert "." in parts.netloc, link
            continue
        target = (ROOT / page.parent / unquote(parts.path)).resolve() if parts.path else ROOT / page
        assert target.exists(), f"{page} links {link}"
        assert target.is_relative_to(ROOT), link
        if parts.fragment:
            assert parts.fragment in anchors(target.relative_to(ROOT)), f"{page} links {link}"


def test_pages_that_are_named_in_texts_have_the_part_that_is_named() -> None:
    """Alarms and commands send their readers to a page and a heading of it."""
    sources = [ROOT / "template.yaml", *(ROOT / "operations").glob("*.py")]
    named = [
        each
        for source in sources
        for each in re.findall(r'(docs/\w+\.md), "?([A-Z][^."]*)["."]', source.read_text())
    ]
    assert named
    for page, heading in named:
        assert re.sub(r"\s+", "-", heading.lower()) in anchors(Path(page)), (page, heading)


def test_the_reference_matches_the_template_and_the_types() -> None:
    assert reference.PAGE.read_text() == reference.page(), "run make reference"


def test_the_reference_has_every_parameter_and_output() -> None:
    text = reference.PAGE.read_text()
    for name in [*parameters(), *template()["Outputs"]]:
        assert f"| `{name}` |" in text


def test_the_stacks_version_is_that_of_the_changelog() -> None:
    newest = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    version = template()["Outputs"]["Version"]["Value"]
    assert re.fullmatch(r"\d+\.\d+\.\d+(-dev)?", version)
    assert version.endswith("-dev") if newest == "Unreleased" else version == newest


@pytest.mark.parametrize("target", TARGETS)
def test_every_command_is_explained_on_a_page(target: str) -> None:
    pattern = re.compile(rf"\bmake\b[^\n`|]*\b{target}\b")
    assert any(pattern.search((ROOT / page).read_text()) for page in PAGES)


def test_make_alone_lists_every_command_under_one_heading() -> None:
    listed = subprocess.check_output(["make", "--no-print-directory"], cwd=ROOT, text=True)
    assert re.findall(r"^\S.*", listed, re.MULTILINE) == [
        "Try it on this machine",
        "Operate it in an AWS account (ENV=, STACK=)",
        "Develop it",
    ]
    assert sorted(re.findall(r"^  make ([a-z-]+) +\S", listed, re.MULTILINE)) == sorted(TARGETS)


def test_every_page_is_reached_from_the_readme() -> None:
    reached, left = set[Path](), [Path("README.md")]
    while left:
        page = left.pop()
        reached.add(page)
        targets = [(ROOT / page.parent / urlsplit(link).path).resolve() for link in links(page)]
        found = {target.relative_to(ROOT) for target in targets if target.is_relative_to(ROOT)}
        left += [each for each in found if each in PAGES and each not in reached]
    assert reached >= set(PAGES)


def test_the_readmes_first_screen_has_the_purpose_and_the_commands() -> None:
    screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:45])
    for needed in ("Vonage", "make demo", "make deploy", "make test", "docs/pictures/flow.svg"):
        assert needed in screen


def test_the_scan_for_lost_events_finds_the_items_of_all_events() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    found = re.findall(r"([a-z_]+) BETWEEN :a AND :b", page)
    assert set(found) == {"received_at", *RECEIVED_AT.values()}  # of outbox items, and of others


def test_the_readmes_event_is_that_of_a_sample_callback() -> None:
    [block] = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    event = json.loads(block)
    observed = video.parse((ROOT / "events/video_archive_available.json").read_bytes())
    known = msgspec.to_builtins(observed)

    data = event["detail"]["data"]
    assert event["detail-type"] == observed.event
    assert event["detail"]["metadata"]["event_id"] == event_id_for_observation(observed)
    assert data == {name: known[name] for name in data} | {"url": "https://..."}


def sentences(page: Path) -> set[str]:
    """Return the sentences of a page's texts and tables, without code, of seven words or more."""
    listed = tokens(page)
    texts = [each.content for each in listed if each.type == "inline"]
    found = {part for text in texts for part in re.split(r"(?<=[.:])\s", " ".join(text.split()))}
    return {part.strip(" *") for part in found if len(part.split()) >= 7}


def test_no_sentence_is_on_two_pages() -> None:
    pages = [page for page in PAGES if page.name != "CHANGELOG.md"]
    where = [(sentence, page) for page in pages for sentence in sentences(page)]
    counted = Counter(sentence for sentence, _ in where)
    assert [(text, page) for text, page in where if counted[text] > 1] == []


def test_no_page_links_a_package_registry() -> None:
    of_a_package = ("/project/", "/package/")
    for page in PAGES:
        paths = {urlsplit(link).path for link in links(page) if urlsplit(link).netloc}
        assert not [path for path in paths if path.startswith(of_a_package)], page
