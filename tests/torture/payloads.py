"""Hostile ids, bodies, headers and query strings, known from failures of other software."""

import base64
import gzip

IDS = [
    *("..", "../..", ".", "%", "%00", "%0d%0aX: y", "a/b", "a\\b", "RECORDING#x", "*", "$default"),
    *("' OR 1=1 --", "${jndi:ldap://x}", "{{7*7}}", "<script>", "\u202e\u0000", "\ufeff", "null"),
    *(
        "%2e%2e%2f",
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        "\U0001d54f" * 64,
    ),
    *("a" * 256, "a" * 257, "é" * 2000, " ", "\t", "-1", "9" * 400, "true", "__proto__", "~", ";"),
]
BROKEN_UTF8 = ["%ff%fe", "%c0%af", "%ED%A0%80", "%f0%9f", "%80"]
NUMBERS = [
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    "9" * 5000,
    "0.1e-999",
    "-0",
    "1E+9999",
    "0x1",
    "01",
]
BODIES = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b'"text"',
    b"\xff\xfe{}",
    b"\xc0\xaf",
    b'{"event": "\xed\xa0\x80"}',
    b"\xef\xbb\xbf{}",
    '{"event": "recording:started"}'.encode("utf-16"),
    b'{"event": "\\ud800"}',
    b'{"event": "\\u0000"}',
    b'{"\x00": "\x00"}',
    b"[" * 50_000,
    b'{"a":' * 20_000,
    b'{"event":' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"event": "recording:started", "event": "room:expired", "room_id": "a", "room_id": 1}',
    b'{"event": "recording:started", "recording_id": "../..", "session_id": "a/b"}',
    b'{"event": "recording:started", "recording_id": {"S": "x"}, "session_id": ["x"]}',
    b'{"event": "recording:uploaded", "url": "javascript:alert(1)"}',
    b'{"reason": "\\u0000", "requested_by": ["b"]}',
    b'{"reason": "' + b"a" * 5000 + b'"}',
    b'{"expires_at": "9999-12-31T23:59:59-23:59"}',
    b'{"expires_at": "0001-01-01T00:00:00+23:59"}',
    b'{"expires_at": "\\ud800"}',
    b'{"dry_run": "perhaps", "limit": 1e400}',
    b'{"limit": -1}',
    b'{"retention_days": 1e308}',
    b'{"__proto__": {"dry_run": true}}',
    b"a=b&c=d",
    b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>",
    base64.b64encode(b'{"event": "recording:started"}'),
    gzip.compress(b'{"event": "recording:started"}', mtime=0),
    b"--x\r\nContent-Disposition: form-data; name=event\r\n\r\nrecording:started\r\n--x--",
    b'{"event": "' + b"x" * 300_000 + b'"}',
    *(f'{{"event": {n}, "duration": {n}, "limit": {n}}}'.encode() for n in NUMBERS),
]
HEADERS: list[dict[str, str]] = [
    {},
    {"Content-Type": ""},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/xml"},
    {"Content-Type": "application/octet-stream"},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Type": "multipart/form-data; boundary=x"},
    {"Content-Type": "a/b; charset=\xff"},
    {"Content-Encoding": "gzip"},
    {"Accept": "*/*;q=x"},
    {"Cookie": ";;;=; a=b; a=c"},
    {"X-Forwarded-For": "::1,,"},
    {"X-HTTP-Method-Override": "DELETE", "X-Original-URL": "/rooms"},
    {"X-Amzn-Trace-Id": "Root=1;Sampled=x"},
    {"Forwarded": "a" * 4000},
    {"X-Filler": "a" * 12_000},  # API Gateway accepts 10,240 bytes of headers in total
    {"X-Filler": "a" * 70_000},
]
QUERIES = [
    "page_size=-1",
    "page_size=1e9&cursor=" + "%00" * 50,
    "page_size=%F0%9F%92%A9",
    "cursor=..%2F..%2F&cursor=b",
    "a%5B%5D=1&a%5B%5D=2&%3D=&%26",
    "token=x&dry_run=false",
    "x=" + "y" * 4000,
]
