"""A mock of AWS, without latency, and of Vonage, with a chosen latency.

`python -m benchmarks.endpoint` prints its port and serves until it is stopped. The first part of a
path to Vonage is the latency in milliseconds: `/200/recordings/ID`.
"""

import asyncio
import json

from benchmarks.endless_source import dynamodb_response, rooms_page

SECRET = json.dumps({"token": "the-token-of-the-sample-callback-url", "signature_secret": ""})
SECRETS = {
    "SecretString": SECRET.replace("}", ', "api_key": "key", "api_secret": "secret"}'),
    "CreatedDate": 1_600_000_000,
}


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
            status, content = await respond(lines[0], headers.get("x-amz-target", ""), body)
            writer.write(
                f"HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\nx-amzn-requestid: 1\r\n"
                f"content-length: {len(content)}\r\n\r\n".encode()
                + content
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def respond(request: str, target: str, body: bytes) -> tuple[int, bytes]:
    """Return status and body of the response to a request."""
    service, _, operation = target.partition(".")
    if service == "secretsmanager":
        return 200, json.dumps(SECRETS).encode()
    if service:
        return 200, json.dumps(dynamodb_response(operation, json.loads(body))).encode()
    method, path, _ = request.split(" ")
    _, milliseconds, *rest = path.split("/")
    await asyncio.sleep(int(milliseconds) / 1000)
    if method == "DELETE":
        return 204, b""
    if method == "PATCH":
        return 200, json.dumps(rooms_page(0, 1)["_embedded"][0]).encode()
    start = int(rest[0].partition("start_id=")[2].partition("&")[0] or 0)
    return 200, json.dumps(rooms_page(start, 20)).encode()


async def main() -> None:
    """Serve on a free port of the loopback interface."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
