"""`python -m tools.audit LOCK...`: tells what is known to be vulnerable in these files.

Exits with 1 when there are, and when the audit itself fails. Where the network does not let it ask,
it says so and exits with 0: being offline is no fault of the code.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from msgspec import Struct

TOOL = Path(__file__).parent.parent / ".tools/scan/bin/pip-audit"
SERVICE = "osv"  # https://osv.dev, which collects PyPI's and GitHub's advisories
OPTIONS = ["--vulnerability-service", SERVICE, "--require-hashes", "--disable-pip"]
LONGEST = 60.0  # seconds; a service that takes longer is as good as none
OFFLINE = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "NameResolutionError", "ProxyError")


class Audit(Struct, frozen=True):
    """What came of an audit: what is known to be vulnerable, or why nobody could be asked."""

    found: list[str] = []
    offline: bool = False


class AuditFailed(Exception):
    """The audit went wrong for a reason that is not the network; the message is the tool's."""


def main() -> int:
    """Audit the files that are named; return what to exit with."""
    result = audit(sys.argv[1:])
    for line in result.found:
        print(line)
    if result.offline:
        print(f"The locked libraries were NOT audited: {SERVICE} cannot be reached from here.")
    return 1 if result.found else 0


def audit(locks: list[str]) -> Audit:
    """Ask about everything that `locks` hold.

    Raises:
        AuditFailed: no answer can be made of what the tool said.
    """
    files = [part for lock in locks for part in ("--requirement", lock)]
    try:
        run = subprocess.run(  # noqa: S603 - our own command
            [str(TOOL), *OPTIONS, "--progress-spinner", "off", "--format", "json", *files],
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
    except subprocess.TimeoutExpired:
        return Audit(offline=True)
    return judged(run.stdout, run.stderr)


def judged(output: str, complaint: str) -> Audit:
    """Return what the tool's output means, which is JSON if it got that far.

    Raises:
        AuditFailed: it is not, and the network is not to blame.
    """
    try:
        report: dict[str, Any] = json.loads(output)
    except ValueError:
        if any(sign in complaint for sign in OFFLINE):
            return Audit(offline=True)
        raise AuditFailed(complaint) from None
    return Audit(
        [
            f"{each['name']} {each['version']}: {problem['id']}, mended in "
            f"{', '.join(problem['fix_versions']) or 'no version yet'}"
            for each in report["dependencies"]
            for problem in each.get("vulns", [])
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
