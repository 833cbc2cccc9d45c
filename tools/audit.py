"""`python -m tools.audit LOCK...`: lists known vulnerabilities of the libraries in lock files.

The exit code is 1 if there are any, or if the audit fails. If the service cannot be reached, it
prints that and exits with 0, because being offline is not a fault of the code.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from msgspec import Struct

TOOL = Path(__file__).parent.parent / ".tools/scan/bin/pip-audit"
SERVICE = "osv"  # https://osv.dev, with the advisories of PyPI and GitHub
OPTIONS = ["--vulnerability-service", SERVICE, "--require-hashes", "--disable-pip"]
TIMEOUT = 60.0  # seconds; a slower service counts as unreachable
OFFLINE = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "NameResolutionError", "ProxyError")


class Audit(Struct, frozen=True):
    """The result of an audit: the vulnerabilities found, or `offline`."""

    found: list[str] = []
    offline: bool = False


class AuditFailed(Exception):
    """The audit failed for another reason than the network; the message is pip-audit's."""


def main() -> int:
    """Audit the files in the arguments; return the exit code."""
    result = audit(sys.argv[1:])
    for line in result.found:
        print(line)
    if result.offline:
        print(f"The locked libraries were NOT audited: {SERVICE} cannot be reached.")
    return 1 if result.found else 0


def audit(locks: list[str]) -> Audit:
    """Audit all libraries in the lock files.

    Raises:
        AuditFailed: pip-audit failed for another reason than the network.
    """
    files = [part for lock in locks for part in ("--requirement", lock)]
    try:
        run = subprocess.run(  # noqa: S603 - our own command
            [str(TOOL), *OPTIONS, "--progress-spinner", "off", "--format", "json", *files],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return Audit(offline=True)
    return parse(run.stdout, run.stderr)


def parse(output: str, errors: str) -> Audit:
    """Return the result in pip-audit's output, which is JSON if the audit succeeded.

    Raises:
        AuditFailed: the output is not JSON, and `errors` do not blame the network.
    """
    try:
        report: dict[str, Any] = json.loads(output)
    except ValueError:
        if any(name in errors for name in OFFLINE):
            return Audit(offline=True)
        raise AuditFailed(errors) from None
    return Audit(
        [
            f"{each['name']} {each['version']}: {vulnerability['id']}, fixed in "
            f"{', '.join(vulnerability['fix_versions']) or 'no version yet'}"
            for each in report["dependencies"]
            for vulnerability in each.get("vulns", [])
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
