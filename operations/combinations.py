"""Parameters that are valid alone and invalid together, which CloudFormation cannot check."""

from collections.abc import Mapping

from msgspec import Struct

from operations.template import Parameter, parameters


class Order(Struct, frozen=True):
    """A rule: the parameter `lower` is at least `by` less than `higher`."""

    lower: str
    higher: str
    by: int
    reason: str

    def error_in(self, values: Mapping[str, str]) -> str | None:
        """Return why these values break the rule, with the ranges that hold; None if they do not.

        `values` has valid values of all parameters.
        """
        lower, higher = int(values[self.lower]), int(values[self.higher])
        if lower + self.by <= higher:
            return None
        ways = [
            _range(parameters()[self.lower], most=higher - self.by),
            _range(parameters()[self.higher], least=lower + self.by),
        ]
        return (
            f"{self.lower} is {lower} and {self.higher} is {higher}, but {self.reason}. "
            f"Set {' or '.join(filter(None, ways))}."
        )


ORDERS = (
    Order(
        "RoomExtensionWithinDays",
        "RoomExtensionToDays",
        1,
        "a room that is extended must no longer be about to expire",
    ),
    Order(
        "RoomExtensionUsedWithinDays",
        "SessionRetentionDays",
        0,
        "the use of a room is known only as long as its sessions are stored",
    ),
)


class Pair(Struct, frozen=True):
    """A rule: both parameters are set, or neither."""

    first: str
    second: str

    def error_in(self, values: Mapping[str, str]) -> str | None:
        """Return why these values break the rule; None if they do not."""
        given, missing = self.first, self.second
        if not values[given]:
            given, missing = missing, given
        if bool(values[given]) == bool(values[missing]):
            return None
        return f"{given} is set and {missing} is not. Set both or neither."


PAIRS = (
    Pair("VonageSubnetIds", "VonageSecurityGroupIds"),
    Pair("CallbackDomainName", "CallbackCertificateArn"),
)


def error_in(values: Mapping[str, str]) -> str | None:
    """Return why these parameters are invalid together; None if they are valid.

    A parameter that is not in `values` has the template's default.
    """
    complete = {name: each.default for name, each in parameters().items()} | dict(values)
    errors = (rule.error_in(complete) for rule in (*ORDERS, *PAIRS))
    return next(filter(None, errors), None)


def _range(parameter: Parameter, *, least: int = 0, most: int | None = None) -> str | None:
    """Return the parameter's range within these limits in words; None if it is empty."""
    own_least, own_most = (int(each or 0) for each in parameter.limits)
    low, high = max(least, own_least), own_most if most is None else min(most, own_most)
    if low > high:
        return None
    return f"{parameter.name} to {low}" if low == high else f"{parameter.name} from {low} to {high}"
