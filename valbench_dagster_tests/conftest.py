"""What every test may rely on: no network but loopback, no roster or home of the machine, and a project of its own."""

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from valbench_dagster.project_files import project_file
from valbench_dagster.settings import read_settings
from valbench_dagster.steps.project import Project, open_project

# Machines are shared and noisy: how long an example takes says nothing.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _loopback_only(event: str, arguments: tuple[Any, ...]) -> None:
    """Let any attempt to reach another machine fail, whichever way of connecting is used."""
    if event == "socket.connect":
        connecting, address = arguments
        if connecting.family != socket.AF_UNIX and str(address[0]) not in LOOPBACK:
            raise OSError(f"a test tried to reach {address}: tests use no network but loopback")


sys.addaudithook(_loopback_only)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project with the shipped roster, in a home of its own."""
    return open_project(
        read_settings({"VALBENCH_HOME": str(tmp_path / "home"), "VALBENCH_ROSTER": str(project_file("roster.toml"))})
    )
