"""Steers and watches a running fault proxy."""

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

    def spared(self) -> list[Rule]:
        """Return those of the rules that are set that have struck nothing so far."""
        rules = requests.get(f"{self.url}/_microburst/rules", timeout=10).json()
        return [rule for rule in rules if not rule["fired_count"]]
