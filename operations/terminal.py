"""Makes text from callbacks safe to print: it cannot control the operator's terminal."""

import re

_QUERY = re.compile(r'(://[^"?\s]*)\?[^"\s]*')
"""A URL's query. The URL ends at a blank or, in JSON, at a quotation mark."""


def escape(text: str) -> str:
    r"""Return `text` with all non-printable characters escaped, such as \x1b or \u202e."""
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def without_queries(text: str) -> str:
    """Return `text` without the queries of its URLs, which contain signatures."""
    return _QUERY.sub(r"\1?...", text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
