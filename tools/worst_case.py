"""The highest cost per day, in dollars, that a caller without credentials can cause.

The caller sends the most expensive requests to every route that requires no signature, as many as
the stage's throttling allows. Limits and sizes come from the template, prices from `tools.prices`.
The source of each limit and charge is next to its number.
"""

import json
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from local.testing.template import properties, resources
from operations.template import parameters
from tools import prices

DAY = 24 * 3600
"""Seconds."""

KB, MB = 1024, 1024**2

METERED_BYTES = 512 * KB
"""HTTP APIs are metered in units of 512 KB ("Amazon API Gateway pricing")."""

GATEWAY_BODY = 10 * MB
"""The largest body that an HTTP API accepts ("Quotas for configuring and running an HTTP API")."""

FUNCTION_BODY = 6 * MB
"""The largest payload of a synchronous invocation ("Lambda quotas"). A larger body does not reach
the function. Assumed: API Gateway charges for it anyway."""

WARM_SECONDS = 0.010
"""Billed duration of a rejection: parsing the request and comparing the token."""

COLD_SECONDS = 0.6
"""Duration of a cold start, billed since August 2025 ("AWS Lambda standardizes billing for INIT
Phase"): twice the 0.3 s that docs/performance.md expects at 512 MB."""

LARGE_BODY_SECONDS = 0.3
"""Time to parse a payload of 6 MB at the same memory size: assumed."""

LINE_OVERHEAD = 26
"""Bytes that CloudWatch Logs adds to each line ("PutLogEvents")."""

REFUSAL_LINE = 400 + LINE_OVERHEAD
"""Bytes of the intake's own log line about a rejection."""

RESPONSE_BYTES, REJECTION_BYTES = 700, 300
"""Bytes of the function's and of API Gateway's error response, with headers."""

ACCOUNT_RATE = 10_000
"""Requests per second of an account in a region ("Amazon API Gateway quotas")."""

MAX_LENGTHS = {
    "requestId": 36,
    "identity.sourceIp": 39,  # IPv6
    "httpMethod": 7,
    "status": 3,
    "responseLatency": 5,
    "integrationStatus": 3,
    "integrationErrorMessage": 100,
}
"""The most characters of each variable in a line of the access log. `routeKey` is computed."""

REJECTED = {name: 1 for name in MAX_LENGTHS if name.startswith("integration")}
"""The lengths of variables that are "-" if no integration is called."""


class Limits(Struct, frozen=True):
    """The stage's throttling limits per route: requests per second, and concurrent requests."""

    rate: float
    burst: float

    @property
    def requests_a_day(self) -> float:
        """Return the most requests per day to one route."""
        return self.burst + self.rate * DAY


class Kind(Struct, frozen=True):
    """A kind of request without credentials, with everything that AWS charges for one of them."""

    name: str
    body: int = 0
    seconds: float | None = None  # billed duration; None if the function is not invoked
    reads_secret: bool = False
    is_logged: bool = False  # by the function, which logs only a sample of frequent lines
    is_traced: bool = False

    @property
    def dollars(self) -> float:
        """Return the cost of one such request."""
        metered = max(1, -(-self.body // METERED_BYTES)) * prices.HTTP_API
        logged = line_bytes() + (REFUSAL_LINE if self.is_logged else 0)
        others = self.reads_secret * prices.SECRET_READ + self.is_traced * prices.TRACE
        return metered + self._function + others + _kept_and_sent(logged, RESPONSE_BYTES)

    @property
    def _function(self) -> float:
        if self.seconds is None:
            return 0
        megabytes: int = properties("CallbackIntake")["MemorySize"]
        gigabytes = megabytes / 1024
        return prices.LAMBDA_REQUEST + self.seconds * gigabytes * prices.LAMBDA_GB_SECOND


def limits() -> Limits:
    """Return the limits that the template sets by default."""
    rate, burst = (
        parameters()[name].default for name in ("CallbackRateLimit", "CallbackBurstLimit")
    )
    return Limits(rate=float(rate), burst=int(burst))


def public_routes() -> list[str]:
    """Return the keys of the routes that require no signature.

    Each is assumed to have its own limits. AWS does not say that routes share the stage's default
    limits, and says about REST APIs that they are "applied at the API method level".
    """
    return [
        route["Properties"]["RouteKey"]
        for route in resources("AWS::ApiGatewayV2::Route").values()
        if route["Properties"].get("AuthorizationType", "NONE") == "NONE"
    ]


def kinds(*, traced: bool | None = None) -> list[Kind]:
    """Return the kinds of requests, each in its most expensive form.

    "All at once" means so many concurrent requests that each causes a cold start, which reads the
    secret and logs its first line. `traced` says whether the functions send traces; the default is
    the template's.
    """
    if traced is None:
        traced = parameters()["Tracing"].default == "Active"  # callers can force it: Sampled=1
    cold = COLD_SECONDS + WARM_SECONDS
    large = COLD_SECONDS + LARGE_BODY_SECONDS
    return [
        Kind("small bodies, one after another", 0, WARM_SECONDS, is_traced=traced),
        Kind("small bodies, all at once", 0, cold, True, True, traced),
        Kind("bodies of 6 MB, all at once", FUNCTION_BODY, large, False, True, traced),
        Kind("bodies of 10 MB", GATEWAY_BODY),
    ]


def dollars_a_day(kind: Kind, bounds: Limits, routes: Sequence[str]) -> float:
    """Return the dollars for a day of such requests to these routes at their limits."""
    return kind.dollars * bounds.requests_a_day * len(routes)


def worst(bounds: Limits | None = None) -> tuple[Kind, float]:
    """Return the most expensive kind of request, and the dollars for a day of it."""
    bounds = bounds or limits()
    costs = [(kind, dollars_a_day(kind, bounds, public_routes())) for kind in kinds()]
    return max(costs, key=lambda cost: cost[1])


def rejection() -> float:
    """Return the dollars for a request that API Gateway rejects itself (403, 404, 429).

    API Gateway does not charge for it: "You do not pay for requests which are not authorized, did
    not match a route in your API or throttled" (an AWS expert's accepted answer in re:Post,
    "pricing clarification for api gateway", to a question on REST APIs; the price pages do not
    say). The line in the access log and the response are charged.
    """
    return _kept_and_sent(line_bytes(REJECTED), REJECTION_BYTES)


def unnoticed_rejections() -> float:
    """Return the rejected requests per second above which HttpApiFloodAlarm fires."""
    alarm = properties("HttpApiFloodAlarm")
    return float(alarm["Threshold"]) / float(alarm["Period"])


def line_bytes(known: Mapping[str, int] | None = None) -> int:
    """Return the billed bytes of the longest line of the access log.

    `known` has the lengths of variables that are known to be shorter.
    """
    settings = properties("HttpApiStage")["AccessLogSettings"]
    lengths = {**MAX_LENGTHS, "routeKey": max(map(len, public_routes())), **(known or {})}
    line = re.sub(r"\$context\.([\w.]+)", lambda name: "x" * lengths[name[1]], settings["Format"])
    json.loads(line)
    return len(line) + LINE_OVERHEAD


def _kept_and_sent(logged: int, sent: int) -> float:
    """Return the dollars for bytes that are logged and bytes that are sent to the internet."""
    return logged / 1e9 * prices.LOG_GB + sent / 1e9 * prices.DATA_OUT_GB
