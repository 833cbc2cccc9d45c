"""`python -m local.faults --port N --upstream URL`: a fault proxy in front of the local AWS.

microburst injects errors in AWS's own form, delays and resets. Its control API is `/_microburst`.
This module adds three features: forwarded requests keep the host name that they were signed for,
responses to HEAD keep their length, and PutEvents can fail for some of its entries.
"""

import argparse
import hashlib
import json
import random
from collections.abc import AsyncIterable, Sequence
from typing import Any

from aiohttp import ClientSession, web
from microburst.app import make_app
from microburst.core.pipeline import Microburst
from microburst.forward import ResponseFault, Upstream, resign_headers
from yarl import URL

from local.faults.rules import PARTIAL, SOME
from local.servers import port_number

TEMPORARY = {"ErrorCode": "InternalFailure", "ErrorMessage": "A fault was injected"}
PERMANENT = {"ErrorCode": "MalformedDetail", "ErrorMessage": "A fault was injected"}


class LocalAws(Upstream):
    """The local AWS behind the proxy. Requests keep the proxy's host, which they are signed for."""

    def _outbound_headers(self, request: web.Request) -> dict[str, str]:
        return {**super()._outbound_headers(request), "host": request.headers["Host"]}

    async def relay(
        self,
        request: web.Request,
        body: bytes | None,
        mutator: ResponseFault | None = None,
        data: bytes | AsyncIterable[bytes] | None = None,
    ) -> web.StreamResponse:
        """Forward a request; if the fault is `PARTIAL`, forward only some entries of PutEvents."""
        if body is not None and mutator is not None and PARTIAL in mutator.set_headers:
            entries = json.loads(body)["Entries"]
            return await self._put_some(request, entries, mutator.set_headers[PARTIAL])
        if request.method == "HEAD" and mutator is None:
            return await self._head(request)
        return await super().relay(request, body, mutator, data)

    async def _head(self, request: web.Request) -> web.StreamResponse:
        """Forward a HEAD request: its response keeps the length, which microburst removes."""
        url = URL(self.base_url + request.rel_url.raw_path_qs, encoded=True)
        async with ClientSession() as session:
            response = await session.head(url, headers=self._outbound_headers(request))
            return web.Response(status=response.status, headers=response.headers)

    async def _put_some(
        self, request: web.Request, entries: Sequence[Any], which: str
    ) -> web.StreamResponse:
        """Fail the entries that contain `which` permanently, or random ones temporarily (SOME)."""
        if which == SOME:
            failed = {index for index in range(len(entries)) if random.random() < 0.5}  # noqa: S311
            failure, failed = TEMPORARY, failed or {0}
        else:
            failed = {index for index, each in enumerate(entries) if which in each["Detail"]}
            failure = PERMANENT
        others = [entry for index, entry in enumerate(entries) if index not in failed]
        succeeded = iter(await self._put(request, others) if others else [])
        results = [failure if index in failed else next(succeeded) for index in range(len(entries))]
        return web.json_response({"FailedEntryCount": len(failed), "Entries": results})

    async def _put(self, request: web.Request, entries: Sequence[Any]) -> list[dict[str, str]]:
        """Put `entries` with the root user's signature; the function's covers other content."""
        body = json.dumps({"Entries": entries}).encode()
        known = self._outbound_headers(request)
        known.pop("content-length", None)
        signed = resign_headers("POST", "/", "", known, hashlib.sha256(body).hexdigest())
        async with ClientSession() as session:
            response = await session.post(self.base_url, headers=signed or known, data=body)
            response.raise_for_status()
            results: list[dict[str, str]] = (await response.json(content_type=None))["Entries"]
        return results


def main() -> None:
    """Serve until the process is stopped."""
    parser = argparse.ArgumentParser(prog="python -m local.faults")
    parser.add_argument("--port", type=port_number, required=True)
    parser.add_argument("--upstream", required=True, help="the local AWS's URL")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random generator")
    options = parser.parse_args()
    random.seed(options.seed)
    proxy = Microburst(options.upstream)
    proxy.upstream = LocalAws(options.upstream, stats=proxy.stats)
    web.run_app(
        make_app(proxy),
        host="127.0.0.1",
        port=options.port,
        access_log=None,
        print=lambda *_: None,
        shutdown_timeout=1.0,  # functions keep their connections open
    )


if __name__ == "__main__":
    main()
