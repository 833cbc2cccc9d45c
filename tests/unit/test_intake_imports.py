import subprocess
import sys

IMPORT = """
import sys
import functions.callback_intake.app
print(sorted({"awscrt", "boto3", "botocore.client", "botocore.session"} & set(sys.modules)))
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
