"""A mock of AWS, without latency, and of Vonage, with a chosen latency.

`python -m benchmarks.endpoint [CERTIFICATE]` prints its port and serves until it is stopped, over
TLS with a certificate. Paths to Vonage start with the latency in milliseconds, for example
`/200/recordings/ID`; those to a list of archives also have their kind and number:
`/200/known/50000/v2/project/ID/archive`.
"""

import asyncio
import json
import ssl
import sys
from urllib.parse import parse_qsl, unquote, urlsplit

from benchmarks.endless_source import archives_page, dynamodb_response, extended_room, rooms_page
from benchmarks.processes import end_with_parent
from local.testing.builders import SIGNATURE_SECRET

SECRET = {
    "token": "the-token-of-the-sample-callback-url",
    "signature_secret": "",
    "signature_secrets": [SIGNATURE_SECRET],
    "api_key": "46339892",
    "api_secret": "0123456789abcdef0123456789abcdef01234567",
}
"""The content of every secret: fields for callbacks, and Vonage's credentials."""


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Respond to every request of a connection."""
    try:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            lines = head.split("\r\n")
            headers = {
                name.lower(): value
                for name, _, value in (line.partition(": ") for line in lines[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            method, path, _ = lines[0].split(" ")
            if target := headers.get("x-amz-target", ""):
                status, content = 200, aws(target, body)
            else:
                status, content = await vonage(method, path, body)
            writer.write(
                f"HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\nx-amzn-requestid: 1\r\n"
                f"content-length: {len(content)}\r\n\r\n".encode()
                + content
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def aws(target: str, body: bytes) -> bytes:
    """Return the response of an AWS service."""
    service, _, operation = target.partition(".")
    request = json.loads(body)
    if service == "secretsmanager":
        secret = {"SecretString": json.dumps(SECRET), "CreatedDate": 1_600_000_000}
        return json.dumps(secret).encode()
    if service == "AWSEvents":
        entries = [{"EventId": "1"} for _ in request["Entries"]]
        return json.dumps({"FailedEntryCount": 0, "Entries": entries}).encode()
    return json.dumps(dynamodb_response(operation, request)).encode()


async def vonage(method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Return the status and body of Vonage's response, after the latency in the path."""
    loop = asyncio.get_running_loop()
    ready_at = loop.time() + int(path.split("/")[1]) / 1000
    response = vonage_response(method, path, body)
    await asyncio.sleep(ready_at - loop.time())
    return response


def vonage_response(method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Return the status and body of Vonage's response."""
    url = urlsplit(path)
    query = dict(parse_qsl(url.query))
    if method == "DELETE":
        return 204, b""
    if method == "PATCH":
        room = extended_room(unquote(url.path.split("/")[-1]), json.loads(body))
        return 200, json.dumps(room).encode()
    if url.path.endswith("/archive"):
        kind, total = url.path.split("/")[2:4]
        return 200, archives_page(kind, int(total), int(query["offset"]), int(query["count"]))
    return 200, json.dumps(rooms_page(int(query.get("start_id", 0)), 20)).encode()


async def main(*certificate: str) -> None:
    """Serve on a free port of the loopback interface."""
    tls = None
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate)
    host = "localhost" if tls else "127.0.0.1"
    server = await asyncio.start_server(serve, host, 0, limit=2**20, backlog=512, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    end_with_parent()
    asyncio.run(main(*sys.argv[1:]))
