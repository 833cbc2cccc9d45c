"""CloudWatch Logs filter patterns for JSON, limited to the syntax in the template.

Source: "Using filter patterns to match terms in JSON log events" in the CloudWatch Logs guide.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

_COMPARISON = re.compile(r'\$\.(\w+) (!?=) "([^"]*)"')


def matches(pattern: str, event: Mapping[str, str]) -> bool:
    """Return whether a log event with these fields matches a filter pattern.

    A pattern compares strings with `=` or `!=` (`*` matches anything) and may use `&&`, `||` and
    parentheses.
    """

    def truth(comparison: re.Match[str]) -> str:
        field, operator, wanted = comparison.groups()
        return str(fnmatchcase(event[field], wanted) is (operator == "="))

    assert (pattern[0], pattern[-1]) == ("{", "}")
    expression = _COMPARISON.sub(truth, pattern[1:-1].strip())
    expression = expression.replace("&&", "and").replace("||", "or")
    assert re.fullmatch(r"(True|False|and|or|[() ])+", expression), pattern
    return bool(eval(expression))  # safe: the pattern above allows only these words
