import json

import pytest

from tools.audit import Audit, AuditFailed, parse


def report(*vulnerabilities: dict[str, object]) -> str:
    return json.dumps(
        {
            "dependencies": [
                {"name": "sound", "version": "1.0", "vulns": []},
                {"name": "left-out", "skip_reason": "it is local"},
                {"name": "broken", "version": "2.0", "vulns": vulnerabilities},
            ],
            "fixes": [],
        }
    )


def test_a_vulnerability_is_named_with_the_version_that_fixes_it() -> None:
    found = parse(report({"id": "PYSEC-1", "fix_versions": ["2.1"]}), "")
    assert found == Audit(["broken 2.0: PYSEC-1, fixed in 2.1"])


def test_without_vulnerabilities_the_audit_is_clean() -> None:
    assert parse(report(), "Found nothing") == Audit()


def test_being_offline_is_reported_and_is_not_a_finding() -> None:
    complaint = "requests.exceptions.ConnectionError: ... NameResolutionError: api.osv.dev"
    assert parse("", complaint) == Audit(offline=True)


def test_a_failed_audit_is_not_a_clean_audit() -> None:
    with pytest.raises(AuditFailed, match="usage"):
        parse("", "usage: pip-audit: no such option")
