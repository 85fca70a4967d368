"""A server that nobody here wrote: llama.cpp's, out of the wheel `xllamacpp`, with the tiny model, as a child process.

    python -m valbench_dagster_tests.real_server MODEL.gguf

Serves the model on a free port of loopback until it is told to stop, and prints `READY <base URL>` when it answers.
Here belongs the process; what is asked of it is the tests'.
"""

import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valbench_dagster_tests.servers import environment, started
from valbench_dagster_tests.tiny_model import CONTEXT, NAME, write_tiny_model

SLOTS = 8
"""Replies that are written at once."""

ABSENT = (
    None
    if importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("gguf")
    else "no real server here: xllamacpp or gguf cannot be imported (wheels of both are in requirements-dev.txt)"
)
"""Why there is no real server here; null where there is one."""


@contextmanager
def real_server(folder: Path) -> Iterator[str]:
    """Serve the tiny model for as long as the context lasts; gives the base URL."""
    model = write_tiny_model(folder / "tiny.gguf")
    command = [sys.executable, "-m", "valbench_dagster_tests.real_server", str(model)]
    env = {**environment(folder / "no-home"), "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    with started(command, folder, env, "real-server") as server:
        server.wait_until(lambda: "READY " in server.printed(), within_s=120)
        yield server.printed().partition("READY ")[2].split()[0]
        assert server.process.poll() is None, f"the server ended during the test: {server.shown()}"


def serve(model: str) -> None:
    """Serve until SIGTERM or SIGINT."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * CONTEXT
    params.cpuparams.n_threads = 1
    params.warmup = False
    server = xllamacpp.Server(params)
    print(f"READY {server.listening_address}/v1", flush=True)  # noqa: T201 - the line that the parent waits for
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    # Its threads have no end of their own: the process is simply over, and there is nothing to save.
    os._exit(0)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    serve(sys.argv[1])
