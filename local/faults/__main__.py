"""`python -m local.faults --port N --upstream URL`: a fault proxy in front of the local AWS.

microburst injects the errors, in AWS's own form, the delays and the resets, as its control API
under `/_microburst` is told to. Here is what it lacks: requests go on under the name they were
signed for, and PutEvents can take some of its entries and not the others.
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

from local.faults.rules import PARTIAL, SOME
from local.servers import port_number

NOT_NOW = {"ErrorCode": "InternalFailure", "ErrorMessage": "A fault was injected"}
NEVER = {"ErrorCode": "MalformedDetail", "ErrorMessage": "A fault was injected"}


class LocalAws(Upstream):
    """The local AWS behind the proxy. It checks signatures, which are for the proxy's address."""

    def _outbound_headers(self, request: web.Request) -> dict[str, str]:
        return {**super()._outbound_headers(request), "host": request.headers["Host"]}

    async def relay(
        self,
        request: web.Request,
        body: bytes | None,
        mutator: ResponseFault | None = None,
        data: bytes | AsyncIterable[bytes] | None = None,
    ) -> web.StreamResponse:
        """Send a request on; of PutEvents only some entries when the fault is `PARTIAL`."""
        if body is not None and mutator is not None and PARTIAL in mutator.set_headers:
            entries = json.loads(body)["Entries"]
            return await self._put_some(request, entries, mutator.set_headers[PARTIAL])
        return await super().relay(request, body, mutator, data)

    async def _put_some(
        self, request: web.Request, entries: Sequence[Any], which: str
    ) -> web.StreamResponse:
        """Refuse the entries that name `which` for good, or just now some that chance decides."""
        if which == SOME:
            refused = {place for place in range(len(entries)) if random.random() < 0.5}  # noqa: S311
            refusal, refused = NOT_NOW, refused or {0}
        else:
            refused = {place for place, each in enumerate(entries) if which in each["Detail"]}
            refusal = NEVER
        kept = [entry for place, entry in enumerate(entries) if place not in refused]
        taken = iter(await self._put(request, kept) if kept else [])
        answer = [refusal if place in refused else next(taken) for place in range(len(entries))]
        return web.json_response({"FailedEntryCount": len(refused), "Entries": answer})

    async def _put(self, request: web.Request, entries: Sequence[Any]) -> list[dict[str, str]]:
        """Put `entries` as the account's root: the function's signature is for other content."""
        body = json.dumps({"Entries": entries}).encode()
        known = self._outbound_headers(request)
        known.pop("content-length", None)
        signed = resign_headers("POST", "/", "", known, hashlib.sha256(body).hexdigest())
        async with ClientSession() as session:
            answer = await session.post(self.base_url, headers=signed or known, data=body)
            answer.raise_for_status()
            taken: list[dict[str, str]] = (await answer.json(content_type=None))["Entries"]
        return taken


def main() -> None:
    """Serve until it is ended."""
    parser = argparse.ArgumentParser(prog="python -m local.faults")
    parser.add_argument("--port", type=port_number, required=True)
    parser.add_argument("--upstream", required=True, help="the local AWS's URL")
    parser.add_argument("--seed", type=int, default=0, help="of the dice")
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
