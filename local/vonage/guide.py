"""The usage text that the emulator prints at its start and serves at `/`."""

from local.vonage.video.projects import API_KEY, APPLICATION_ID

_GUIDE = """\
Vonage Meetings API and Video API, emulated at {base}
  Meetings  {base}/beta/meetings  and  {base}/v1/meetings
  Rooms     curl -u key:secret {base}/beta/meetings/rooms
  Video     {base}/v2/project/{application_id}/archive  (unified)
            {base}/v2/project/{api_key}/archive  (classic, secret {api_secret})
  Video credentials, with the application's private key, as make configure reads them:
            curl {base}/control/video/credentials

Control it (JSON in, JSON out; local/README.md describes all fields):
  Set callback URL   curl {base}/control/callbacks -d '{{"url": "http://127.0.0.1:3000/callbacks/TOKEN"}}'
  Hold a meeting     curl {base}/control/meetings -d '{{"recordings": 2}}'
  Add a room         curl {base}/control/rooms -d '{{"display_name": "Standup", "type": "long_term"}}'
  Video callbacks    curl {base}/control/callbacks -d '{{"url": "http://127.0.0.1:3000/callbacks/video/TOKEN", "kinds": ["video_archives", "video_sessions"]}}'
  Play a session     curl {base}/control/video/sessions -d '{{"pauses": 1}}'
  Add archives       curl {base}/control/archives -d '{{"count": 3, "status": "available", "size": 10000000000}}'
  Cut a download     curl {base}/control/faults -d '{{"operation": "download", "cut_after": 1000000, "times": 1}}'
  See the callbacks  curl {base}/control/deliveries
  Inject a fault     curl {base}/control/faults -d '{{"operation": "get_room", "status": 503, "times": 3}}'
  Respond with HTML  curl {base}/control/faults -d '{{"operation": "*", "status": 200, "body": "<h1>Sign in</h1>"}}'
  Remove faults      curl -X DELETE {base}/control/faults
  Vary a list's end  curl {base}/control/settings -d '{{"list_end": "empty_page"}}'
  Self-signed https  curl -X POST {base}/control/https
  Advance the clock  curl {base}/control/clock -d '{{"seconds": 600}}'
  Reset              curl -X POST {base}/control/reset
"""  # noqa: E501 - commands to be copied are not wrapped


def guide(base: str, api_secret: str) -> str:
    """Return the usage text of the emulator at `base`, with commands to copy.

    `api_secret` is that of the Video API's classic project.
    """
    return _GUIDE.format(
        base=base, application_id=APPLICATION_ID, api_key=API_KEY, api_secret=api_secret
    )
