"""Makes text from callbacks safe to print: it cannot control the operator's terminal."""

import re

_URL = re.compile(r'://[^"\s]*')
"""A URL with its query. It ends at a blank or, in JSON, at a quotation mark.

A pattern that required a `?` would take quadratic time without one.
"""


def escape(text: str) -> str:
    r"""Return `text` with all non-printable characters escaped, such as \x1b or \u202e."""
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def without_queries(text: str) -> str:
    """Return `text` without the queries of its URLs, which contain signatures."""
    return _URL.sub(_without_query, text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _without_query(url: re.Match[str]) -> str:
    address, mark, _query = url[0].partition("?")
    return f"{address}?..." if mark else address
