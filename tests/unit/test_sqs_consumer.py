"""The example of a queue's consumer keeps event ids for longer than an archive can replay them."""

import re
import tomllib

from operations import sam
from operations.template import ROOT, parameters

RETENTION = "EventArchiveRetentionDays"


def test_event_ids_outlive_the_archive_of_every_environment() -> None:
    code = (ROOT / "examples/sqs_consumer/consumer/app.py").read_text()
    [days] = re.findall(r"^ID_RETENTION = (\d+) \* 24 \* 3600$", code, re.MULTILINE)
    described = tomllib.loads((ROOT / "samconfig.toml").read_text())
    names = [name for name in described if name != "version"]
    chosen = [sam.environment(name).parameters.get(RETENTION, "0") for name in names]
    assert int(days) > max(map(int, [parameters()[RETENTION].default, *chosen]))
