"""`make up` and `make demo` stop their servers however they end."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from local import stack, up
from local.servers import LocalStackError, Server
from operations.signals import uninterrupted


class AServer(Server, frozen=True):
    """A server that gets another Ctrl-C while it is stopped, and keeps a note of its end."""

    @property
    def is_responding(self) -> bool:
        return self.name in RESPONDING

    def stop(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        STOPPED.append(self.name)
        RUNNING.discard(self.name)


STOPPED: list[str] = []
RESPONDING: set[str] = set()
RUNNING: set[str] = set()
SERVERS = [AServer(name, 0, "http://127.0.0.1:1", "a.log") for name in ("aws", "vonage")]


@pytest.fixture(autouse=True)
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write below a folder of the test."""
    monkeypatch.setattr(stack, "BUILD", tmp_path)
    (tmp_path / "local").mkdir()
    for each in (STOPPED, RESPONDING, RUNNING):
        each.clear()
    return tmp_path


def start(monkeypatch: pytest.MonkeyPatch, end: BaseException | None = None) -> None:
    """Let the start append both servers, then raise `end` if it is given."""

    def started(_folder: Path, _say: Any, port: int, _vonage: int, servers: Any, *_: Any) -> Any:
        servers += SERVERS
        if end:
            raise end
        aws, emulator = (AServer(each.name, 0, f"http://x:{port}", each.log) for each in SERVERS)
        return stack.LocalStack(None, None, None, aws, emulator)  # type: ignore[arg-type]

    monkeypatch.setattr(stack, "_start", started)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_both_servers_and_a_second_one_does_not_interrupt_that(
    number: signal.Signals, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGHUP is that of a terminal that is closed."""
    start(monkeypatch)
    with (
        pytest.raises((KeyboardInterrupt, SystemExit)),
        stack.running(build / "local/demo", print),
    ):
        os.kill(os.getpid(), number)
    assert STOPPED == ["aws", "vonage"]


def test_ctrl_c_during_make_up_is_one_sentence_and_stops_both_servers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start(monkeypatch, KeyboardInterrupt())
    monkeypatch.setattr(up, "use_only_this_machine", lambda: None)
    monkeypatch.setattr("sys.argv", ["up", "up"])

    assert up.main() == 130
    assert capsys.readouterr().err == "\nInterrupted. The local stack is stopped.\n"
    assert STOPPED == ["aws", "vonage"]


def test_a_stack_on_any_free_port_is_known_by_that_port(
    build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(monkeypatch)
    monkeypatch.setattr("local.servers.free_port", lambda: 23456)
    assert stack.up(print, 0, 0).aws.url == "http://x:23456"
    assert (build / "local/up-23456.json").exists()


@pytest.mark.parametrize(
    ("alive", "responding", "stopped"),
    [
        ("aws vonage", "aws vonage", "aws vonage"),
        ("aws vonage", "aws", "aws aws vonage"),
        ("vonage", "vonage", "vonage"),  # the other's process id may be another process's
        ("", "", ""),
    ],
)
def test_down_stops_what_is_alive_even_if_it_does_not_respond(
    alive: str, responding: str, stopped: str, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RUNNING.update(alive.split())
    RESPONDING.update(responding.split())
    monkeypatch.setattr("local.leftovers.is_running", lambda _folder: bool(RUNNING))
    monkeypatch.setattr("msgspec.json.decode", lambda _text, type: type(*SERVERS))  # noqa: A006
    (build / "local/up-4566.json").touch()

    with uninterrupted():
        stack.down(4566)

    assert stopped.split() == STOPPED
    assert not (build / "local/up-4566.json").exists()


def test_a_stack_whose_servers_have_ended_does_not_count_as_running(
    build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash of the machine."""
    start(monkeypatch)
    (build / "local/up-4566.json").write_text("of the last run")
    assert stack.up(print, 4566, 4570).aws.url == "http://x:4566"
    monkeypatch.setattr("local.leftovers.is_running", lambda _folder: True)
    with pytest.raises(LocalStackError, match="already running on port 4566"):
        stack.up(print, 4566, 4570)
