"""The guard of the suite: a test that reaches for another machine fails."""

import socket

import pytest


@pytest.mark.parametrize("how", ["connect", "connect_ex"])
def test_no_test_reaches_another_machine(how: str) -> None:
    # 192.0.2.0/24 is kept for documentation (RFC 5737): there is nobody to reach, and the guard acts before.
    with socket.socket() as made, pytest.raises(OSError, match="no network but loopback"):
        getattr(made, how)(("192.0.2.1", 9))
