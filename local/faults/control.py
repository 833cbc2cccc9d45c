"""Steers and watches a running fault proxy."""

from collections import Counter
from collections.abc import Sequence

import requests

from local.faults.rules import Rule, striking


class FaultControl:
    """The fault proxy at `url`; it lets everything pass until it is told otherwise."""

    def __init__(self, url: str) -> None:
        self.url = url

    def strike(self, rate: float) -> None:
        """Let that share of the calls to each service fail, in all ways, from now on."""
        self.set(striking(rate))

    def set(self, rules: Sequence[Rule]) -> None:
        """Let calls fail by these rules alone, in microburst's form; by none: not at all."""
        requests.post(f"{self.url}/_microburst/rules", json=rules, timeout=10).raise_for_status()

    def struck(self) -> Counter[str]:
        """Return how many calls to each service the rules that are set have struck, by its name."""
        counts: Counter[str] = Counter()
        for rule in requests.get(f"{self.url}/_microburst/rules", timeout=10).json():
            counts[rule["service"]] += rule["fired_count"]
        return +counts
