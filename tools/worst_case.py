"""The dollars a day that a caller without credentials can cost a stack.

The caller sends to every route that asks for no signature as much as the stage lets through, in the
most expensive form. Limits and sizes are read off the template; prices are those of
`tools.prices`; what AWS says of limits and charges is named beside each figure.
"""

import json
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from operations.template import parameters, template
from tools import prices

DAY = 24 * 3600
"""Seconds."""

KB, MB = 1024, 1024**2

METERED_BYTES = 512 * KB
"""HTTP APIs are metered in steps of 512 KB ("Amazon API Gateway pricing")."""

GATEWAY_BODY = 10 * MB
"""The largest body that an HTTP API takes ("Quotas for configuring and running an HTTP API")."""

FUNCTION_BODY = 6 * MB
"""The largest payload of a synchronous invocation ("Lambda quotas"). A larger body does not reach
the function; API Gateway is taken to charge for it all the same."""

WARM_SECONDS = 0.010
"""A refusal, billed: reading the request and comparing the token."""

COLD_SECONDS = 0.6
"""A cold start, billed since August 2025 ("AWS Lambda standardizes billing for INIT Phase"): twice
the 0.3 s that docs/performance.md expects at 512 MB."""

LARGE_BODY_SECONDS = 0.3
"""To read a payload of 6 MB, on the same share of a processor: assumed."""

LINE_OVERHEAD = 26
"""Bytes that CloudWatch Logs adds to each line ("PutLogEvents")."""

REFUSAL_LINE = 400 + LINE_OVERHEAD
"""Bytes of the intake's own line."""

RESPONSE_BYTES, REJECTION_BYTES = 700, 300
"""The function's refusal, and API Gateway's, with headers, on their way to the internet."""

ACCOUNT_RATE = 10_000
"""Requests a second of an account in a region ("Amazon API Gateway quotas")."""

LONGEST = {
    "requestId": 36,
    "identity.sourceIp": 39,  # IPv6
    "httpMethod": 7,
    "status": 3,
    "responseLatency": 5,
    "integrationStatus": 3,
    "integrationErrorMessage": 100,
}
"""Characters of the variables in a line of the access log; `routeKey` is as long as the longest."""

REJECTED = {name: 1 for name in LONGEST if name.startswith("integration")}
"""The same where no integration was called: "-"."""


class Limits(Struct, frozen=True):
    """How much the stage lets through: requests a second, requests at once, both for each route."""

    rate: float
    burst: int

    @property
    def requests_a_day(self) -> float:
        """Return how many requests a day get through to one route."""
        return self.burst + self.rate * DAY


class Kind(Struct, frozen=True):
    """A kind of request without credentials, and all that one of it makes AWS charge for."""

    name: str
    body: int = 0
    seconds: float | None = None  # billed duration; None when the function is not reached
    reads_secret: bool = False
    is_logged: bool = False  # by the function; of many in a row it logs a sample
    is_traced: bool = False

    @property
    def dollars(self) -> float:
        """Return what one such request costs."""
        metered = max(1, -(-self.body // METERED_BYTES)) * prices.HTTP_API
        logged = line_bytes() + (REFUSAL_LINE if self.is_logged else 0)
        others = self.reads_secret * prices.SECRET_READ + self.is_traced * prices.TRACE
        return metered + self._function + others + _kept_and_sent(logged, RESPONSE_BYTES)

    @property
    def _function(self) -> float:
        if self.seconds is None:
            return 0
        megabytes: int = template()["Resources"]["CallbackIntake"]["Properties"]["MemorySize"]
        gigabytes = megabytes / 1024
        return prices.LAMBDA_REQUEST + self.seconds * gigabytes * prices.LAMBDA_GB_SECOND


def limits() -> Limits:
    """Return the limits that the template sets by default."""
    rate, burst = (
        parameters()[name].default for name in ("CallbackRateLimit", "CallbackBurstLimit")
    )
    return Limits(rate=float(rate), burst=int(burst))


def public_routes() -> list[str]:
    """Return the keys of the routes that ask for no signature.

    Each is counted with limits of its own. AWS does not say that routes share the stage's default
    ones, and of REST APIs it says that they are "applied at the API method level".
    """
    return [
        route["RouteKey"]
        for resource in template()["Resources"].values()
        if resource["Type"] == "AWS::ApiGatewayV2::Route"
        for route in [resource["Properties"]]
        if route.get("AuthorizationType", "NONE") == "NONE"
    ]


def kinds(*, traced: bool | None = None) -> list[Kind]:
    """Return the kinds of requests, each the most expensive of its form.

    "All at once" means so many at the same moment that each starts a process of its own, which
    reads the secret and logs its first line. `traced` is whether the functions send traces; by
    default, as the template's default says.
    """
    if traced is None:
        traced = parameters()["Tracing"].default == "Active"  # the caller's header says Sampled=1
    cold = COLD_SECONDS + WARM_SECONDS
    large = COLD_SECONDS + LARGE_BODY_SECONDS
    return [
        Kind("small bodies, one after another", 0, WARM_SECONDS, is_traced=traced),
        Kind("small bodies, all at once", 0, cold, True, True, traced),
        Kind("bodies of 6 MB, all at once", FUNCTION_BODY, large, False, True, traced),
        Kind("bodies of 10 MB", GATEWAY_BODY),
    ]


def dollars_a_day(kind: Kind, bounds: Limits, routes: Sequence[str]) -> float:
    """Return what a day of nothing but such requests costs, at these limits of each route."""
    return kind.dollars * bounds.requests_a_day * len(routes)


def worst(bounds: Limits | None = None) -> tuple[Kind, float]:
    """Return the most expensive kind of request and what a day of it costs, in dollars."""
    bounds = bounds or limits()
    costs = [(kind, dollars_a_day(kind, bounds, public_routes())) for kind in kinds()]
    return max(costs, key=lambda cost: cost[1])


def rejection() -> float:
    """Return the dollars for a request that API Gateway rejects itself (403, 404, 429).

    It charges for none of them: "You do not pay for requests which are not authorized, did not
    match a route in your API or throttled" (an AWS expert's accepted answer in re:Post, "pricing
    clarification for api gateway", to a question on REST APIs; the price pages do not say). A line
    of the access log and the response remain.
    """
    return _kept_and_sent(line_bytes(REJECTED), REJECTION_BYTES)


def unnoticed_rejections() -> float:
    """Return how many requests a second API Gateway can reject before HttpApiFloodAlarm fires."""
    alarm = template()["Resources"]["HttpApiFloodAlarm"]["Properties"]
    return float(alarm["Threshold"]) / float(alarm["Period"])


def line_bytes(known: Mapping[str, int] | None = None) -> int:
    """Return the bytes of the longest line of the access log, as they are charged.

    `known` has the lengths of variables that are shorter than at their longest.
    """
    settings = template()["Resources"]["HttpApiStage"]["Properties"]["AccessLogSettings"]
    longest = {**LONGEST, "routeKey": max(map(len, public_routes())), **(known or {})}
    line = re.sub(r"\$context\.([\w.]+)", lambda name: "x" * longest[name[1]], settings["Format"])
    json.loads(line)
    return len(line) + LINE_OVERHEAD


def _kept_and_sent(logged: int, sent: int) -> float:
    """Return the dollars for bytes of logs and bytes to the internet."""
    return logged / 1e9 * prices.LOG_GB + sent / 1e9 * prices.DATA_OUT_GB
