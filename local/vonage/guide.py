"""The usage text that the emulator prints at its start and serves at `/`."""

_GUIDE = """\
Vonage Meetings API, emulated at {base}
  API       {base}/beta/meetings  and  {base}/v1/meetings
  Rooms     curl -u key:secret {base}/beta/meetings/rooms

Control it (JSON in, JSON out; local/README.md describes all fields):
  Set callback URL   curl {base}/control/callbacks -d '{{"url": "http://127.0.0.1:3000/callbacks/TOKEN"}}'
  Hold a meeting     curl {base}/control/meetings -d '{{"recordings": 2}}'
  Add a room         curl {base}/control/rooms -d '{{"display_name": "Standup", "type": "long_term"}}'
  See the callbacks  curl {base}/control/deliveries
  Inject a fault     curl {base}/control/faults -d '{{"operation": "get_room", "status": 503, "times": 3}}'
  Respond with HTML  curl {base}/control/faults -d '{{"operation": "*", "status": 200, "body": "<h1>Sign in</h1>"}}'
  Remove faults      curl -X DELETE {base}/control/faults
  End a list oddly   curl {base}/control/settings -d '{{"list_end": "empty_page"}}'
  Self-signed https  curl -X POST {base}/control/https
  Advance the clock  curl {base}/control/clock -d '{{"seconds": 600}}'
  Reset              curl -X POST {base}/control/reset
"""  # noqa: E501 - commands to be copied are not wrapped


def guide(base: str) -> str:
    """Return the usage text of the emulator at `base`, with commands to copy."""
    return _GUIDE.format(base=base)
