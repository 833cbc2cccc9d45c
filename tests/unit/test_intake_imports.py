import subprocess
import sys

import pytest

IMPORT = """
import sys
import functions.callback_intake.app
print(sorted({"awscrt", "boto3", "botocore.client", "botocore.session"} & set(sys.modules)))
"""

IMPORTED_PARSERS = """
import sys
import functions.callback_intake.app
parsers = ("meetings", "video", "video_archives", "redaction")
print(sorted({f"roomkeeper.callbacks.{each}" for each in parsers} & set(sys.modules)))
"""

IMPORT_PARSER = """
import importlib, sys
importlib.import_module(f"roomkeeper.callbacks.{sys.argv[1]}")
print(sorted({"awscrt", "boto3", "cryptography", "jwt", "requests", "urllib3"} & set(sys.modules)))
"""


def test_the_intake_loads_the_common_runtime_and_no_boto3() -> None:
    """import-linter checks only this project's imports, not those of libraries."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT],
        env={"PYTHONPATH": ":".join(sys.path), "POWERTOOLS_METRICS_NAMESPACE": "Roomkeeper"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['awscrt']"


def test_the_intake_loads_the_parser_of_a_product_with_its_first_callback() -> None:
    """A cold start loads only one of them: the other product's would make it slower."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED_PARSERS],
        env={"PYTHONPATH": ":".join(sys.path), "POWERTOOLS_METRICS_NAMESPACE": "Roomkeeper"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("product", ["meetings", "video"])
def test_the_parsers_load_no_library_for_requests_or_signatures(product: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_PARSER, product],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
