"""Removes personal data and secrets from JSON of an unknown shape. Pure."""

import json
import re
from collections.abc import Iterator

REDACTED = '"[redacted]"'

MAX_MARKED = 10_000
"""The most values that are replaced by REDACTED, each of which adds up to 11 bytes.

With more, `null` replaces them all. The largest body that is accepted thus fits into a table item,
which has at most 400 KB; otherwise, its callback would fail each time that it is sent.
"""

_SENSITIVE = (
    "data",
    "name",
    "names",
    "password",
    "secret",
    "token",
    "uri",
    "url",
    "urls",
)
"""The ends of the names of fields whose values are removed, in lower case.

They cover `connection.data`, the names of streams and archives, `password`, `url` and
`transcription.url`, which the Video API documents, and the `streamName` of a broadcast, which is a
key. Its documentation does not describe all callbacks, so fields are removed at any depth.
"""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)


def redacted(text: str) -> str:
    """Return the JSON object `text` with `"[redacted]"` for each sensitive value, at any depth.

    With more than MAX_MARKED such values, it is `null` for each. All other text stays as it is:
    repeated fields, number formats and white space. `text` must be valid JSON.
    """
    values = list(_sensitive_values(text))
    replacement = REDACTED if len(values) <= MAX_MARKED else "null"
    kept: list[str] = []
    end_of_kept = 0
    for start, end in values:
        kept += (text[end_of_kept:start], replacement)
        end_of_kept = end
    return "".join((*kept, text[end_of_kept:]))


def _sensitive_values(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each sensitive value; null and "" are not sensitive."""
    tokens = _TOKEN.finditer(text)
    last = ""
    for token in tokens:
        if token[0] == ":" and _is_sensitive(last):
            start, end = _span_of_value(tokens)
            if text[start:end] not in {"null", '""'}:
                yield start, end
        last = token[0]


def _is_sensitive(key: str) -> bool:
    name: str = json.loads(key)
    return name.lower().endswith(_SENSITIVE)


def _span_of_value(tokens: Iterator[re.Match[str]]) -> tuple[int, int]:
    """Return the start and the end of the value that begins with the next token."""
    first = token = next(tokens)
    depth = _nesting(token)
    while depth:
        token = next(tokens)
        depth += _nesting(token)
    return first.start(), token.end()


def _nesting(token: re.Match[str]) -> int:
    if token[0] in {"{", "["}:
        return 1
    return -1 if token[0] in {"}", "]"} else 0
