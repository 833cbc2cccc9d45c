"""Controls a running fault proxy."""

from collections import Counter
from collections.abc import Sequence

import requests

from local.faults.rules import Rule, fault_rules


class FaultControl:
    """The fault proxy at `url`; without rules it forwards everything unchanged."""

    def __init__(self, url: str) -> None:
        self.url = url

    def inject(self, rate: float) -> None:
        """Make this share of the calls to each service fail, with all kinds of faults."""
        self.set(fault_rules(rate))

    def set(self, rules: Sequence[Rule]) -> None:
        """Replace all rules by these, in microburst's form; no rules means no faults."""
        requests.post(f"{self.url}/_microburst/rules", json=rules, timeout=10).raise_for_status()

    def injected(self) -> Counter[str]:
        """Return how many calls to each service failed because of the current rules."""
        counts: Counter[str] = Counter()
        for rule in requests.get(f"{self.url}/_microburst/rules", timeout=10).json():
            counts[rule["service"]] += rule["fired_count"]
        return +counts
