"""What the emulator tells of itself when it starts, and at `/`."""

_GUIDE = """\
Vonage Meetings API, emulated at {base}
  API       {base}/beta/meetings  and  {base}/v1/meetings
  Rooms     curl -u key:secret {base}/beta/meetings/rooms

Steering it (JSON in, JSON out; all fields are described in local/README.md):
  Callbacks go to    curl {base}/control/callbacks -d '{{"url": "http://127.0.0.1:3000/callbacks/TOKEN"}}'
  Hold a meeting     curl {base}/control/meetings -d '{{"recordings": 2}}'
  Place a room       curl {base}/control/rooms -d '{{"display_name": "Standup", "type": "long_term"}}'
  See the callbacks  curl {base}/control/deliveries
  Make things fail   curl {base}/control/faults -d '{{"operation": "get_room", "status": 503, "times": 3}}'
  ... in HTML        curl {base}/control/faults -d '{{"operation": "*", "status": 200, "body": "<h1>Sign in</h1>"}}'
  ... and no more    curl -X DELETE {base}/control/faults
  End a list oddly   curl {base}/control/settings -d '{{"list_end": "empty_page"}}'
  Self-signed https  curl -X POST {base}/control/https
  Advance the clock  curl {base}/control/clock -d '{{"seconds": 600}}'
  Start afresh       curl -X POST {base}/control/reset
"""  # noqa: E501 - commands to be copied are not wrapped


def guide(base: str) -> str:
    """Return how to use the emulator that is reached at `base`, with commands to copy."""
    return _GUIDE.format(base=base)
