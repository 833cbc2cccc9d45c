import socket
from collections.abc import Callable

import pytest
import requests


@pytest.mark.parametrize(
    "reach_out",
    [
        socket.socket,
        lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
        lambda: requests.get("http://localhost:9", timeout=1),
    ],
    ids=["socket", "loopback", "HTTP"],
)
def test_a_unit_test_that_opens_a_socket_fails(reach_out: Callable[[], object]) -> None:
    with pytest.raises(AssertionError, match="tried to open a socket"):
        reach_out()
