"""CloudWatch Logs' filter patterns for JSON, as far as the template uses them.

Source: "Using filter patterns to match terms in JSON log events" in the CloudWatch Logs guide.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

_COMPARISON = re.compile(r'\$\.(\w+) (!?=) "([^"]*)"')


def matches(pattern: str, event: Mapping[str, str]) -> bool:
    """Return whether a log event, by its fields, matches a filter pattern.

    The pattern compares texts (`=`, `!=`, `*` for anything), joined by `&&`, `||` and brackets.
    """

    def truth(comparison: re.Match[str]) -> str:
        field, operator, wanted = comparison.groups()
        return str(fnmatchcase(event[field], wanted) is (operator == "="))

    assert (pattern[0], pattern[-1]) == ("{", "}")
    expression = _COMPARISON.sub(truth, pattern[1:-1].strip())
    expression = expression.replace("&&", "and").replace("||", "or")
    assert re.fullmatch(r"(True|False|and|or|[() ])+", expression), pattern
    return bool(eval(expression))  # of the words above alone
