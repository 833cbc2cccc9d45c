"""Text for the operator's terminal: nothing that comes from a callback can control it."""

import re

_QUERY = re.compile(r'(://[^"?\s]*)\?[^"\s]*')
"""A URL's query: it ends where the URL does, in prose and in JSON."""


def escape(text: str) -> str:
    r"""Return `text` with every character that is not printable escaped, such as \x1b or \u202e."""
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def without_queries(text: str) -> str:
    """Return `text` with the queries of its URLs left out: they hold signatures."""
    return _QUERY.sub(r"\1?...", text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
