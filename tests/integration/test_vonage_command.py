"""`python -m local.vonage`, run as a command."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from local.vonage import VonageControl

ROOT = Path(__file__).parents[2]


def started(*arguments: str) -> subprocess.Popen[str]:
    path = f"{ROOT}{os.pathsep}{ROOT / 'layers/roomkeeper'}"
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "local.vonage", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped_and_prints_nothing_more(number: signal.Signals) -> None:
    with started("--port", "0") as emulator:
        assert emulator.stdout is not None
        assert emulator.stderr is not None
        first = emulator.stdout.readline()
        base = re.fullmatch(
            r"Vonage Meetings API and Video API, emulated at (http://127\.0\.0\.1:\d+)\n", first
        )
        assert base is not None
        response = requests.get(f"{base[1]}/v1/meetings/rooms", auth=("k", "s"), timeout=60)
        assert response.status_code == 200
        video = VonageControl(base[1]).video.credentials()
        emulator.send_signal(number)
        emulator.wait(timeout=60)
        out, err = emulator.stdout.read(), emulator.stderr.read()
    assert (emulator.returncode, err) == (0, "")
    assert f"curl {base[1]}/control/deliveries" in out
    assert video["application_id"] in out
    assert video["api_secret"] in out
    assert "GET /" not in out


def test_a_port_in_use_is_reported_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started("--port", str(port)) as emulator:
            out, err = emulator.communicate(timeout=60)
    assert (emulator.returncode, out) == (1, "")
    assert err == (
        f"The emulator cannot listen at 127.0.0.1:{port}: Address already in use. "
        "Choose another port with --port, or any free port with --port 0.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--port", "70000"], "'70000' is not a port number from 0 to 65535"),
        (["--port", "http"], "'http' is not a port number from 0 to 65535"),
        (["--public-key", "/nowhere/key.pem"], "/nowhere/key.pem: No such file or directory"),
        (["--public-key", __file__], "The public key is not in PEM."),
    ],
)
def test_a_wrong_option_is_reported_without_a_traceback(
    arguments: list[str], complaint: str
) -> None:
    with started(*arguments) as emulator:
        _, err = emulator.communicate(timeout=60)
    assert emulator.returncode == 2
    assert complaint in err
    assert "Traceback" not in err
