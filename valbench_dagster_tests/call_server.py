"""The loopback server of the benchmarks as tests use it: a child process, its latency, and what it was asked."""

import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valbench_dagster_tests.servers import Child, environment, started

ROOT = Path(__file__).resolve().parent.parent
"""Where `benchmarks` can be imported from."""


@dataclass(frozen=True)
class Marks:
    """The marks of the prompts that came, and of those whose reply was written to a connection that lived."""

    asked: tuple[int, ...]
    answered: tuple[int, ...]


@dataclass(frozen=True)
class CallServer:
    """A running server of chat completions."""

    child: Child
    base_url: str

    def latency(self, seconds: float) -> None:
        """Let replies take so long from now on."""
        self._get(f"/set?latency={seconds}")

    def marks(self) -> Marks:
        """Give what came since the last look, once nobody but us is connected: nothing more comes of what was."""
        self.child.wait_until(lambda: self._get("/stats")["connections"] == 1, within_s=60)
        found = self._get("/marks")
        return Marks(tuple(found["asked"]), tuple(found["answered"]))

    def _get(self, path: str) -> Any:
        url = self.base_url.removesuffix("/v1") + path
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - our own server, http
            return json.loads(answer.read())


def module(name: str) -> list[str]:
    """Give the command that runs a module of the project."""
    return [sys.executable, "-m", name]


def child_environment(folder: Path) -> dict[str, str]:
    """Give the environment of a child that imports the project and its benchmarks from this checkout."""
    return {**environment(folder / "no-home"), "PYTHONPATH": str(ROOT)}


@contextmanager
def call_server(folder: Path, latency_s: float) -> Iterator[CallServer]:
    """Serve for as long as the context lasts."""
    command = [*module("benchmarks.inference.server"), "--latency", str(latency_s)]
    with started(command, folder, child_environment(folder), "call-server") as child:
        child.wait_until(lambda: "READY " in child.printed(), within_s=60)
        yield CallServer(child, child.printed().split()[1])
        assert child.process.poll() is None, f"the server ended during the test: {child.shown()}"
