"""The samples of functions' inputs: there is one for each, and each job understands its own."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from local.testing.template import ROOT, resources
from roomkeeper import http_api
from roomkeeper.jobs.cleanup import CleanupOptions
from roomkeeper.jobs.reconciliation import ReconciliationOptions
from roomkeeper.jobs.runner import Options

SAMPLES = ROOT / "events/functions"


def sample(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return read


def test_every_function_has_a_sample() -> None:
    folders = {
        Path(function["Properties"]["CodeUri"]).name
        for function in resources("AWS::Serverless::Function").values()
    }
    samples = {path.stem.removesuffix("_on_demand") for path in SAMPLES.glob("*.json")}
    assert samples == folders


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (CleanupOptions, "recording_cleanup"),
        (ReconciliationOptions, "recording_reconciler"),
        (Options, "room_expiry_extender"),
    ],
)
def test_a_job_accepts_its_samples_options(kind: type[Options], name: str) -> None:
    assert msgspec.convert(sample(name), kind).dry_run is None
    on_demand = msgspec.json.decode(http_api.body_of(sample(f"{name}_on_demand")), type=kind)
    assert on_demand.dry_run
