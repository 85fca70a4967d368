"""Stand-ins that answer in this process, without any network, and an SDK that is loaded only when it is used."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from valbench_dagster.adapters.openai.transport import OpenAITransport
from valbench_dagster.llm.calls import Request
from valbench_dagster.llm.endpoint import EndpointSettings, TransportFault
from valbench_dagster_tests.llm_fakes import completion, request
from valbench_dagster_tests.loopback_server import sent


@contextmanager
def no_network() -> Iterator[None]:
    """Let any attempt to open a socket for the network fail, in this thread's Python code."""
    here = threading.get_ident()

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if watching and event == "socket.connect" and threading.get_ident() == here:
            raise AssertionError(f"connects to {args[1]}")

    watching = True
    sys.addaudithook(watch)
    try:
        yield
    finally:
        watching = False  # a hook cannot be taken away again


def in_process(app: Callable[..., Awaitable[None]], *asked: Request) -> list[bytes]:
    async def run() -> list[bytes]:
        async with OpenAITransport(EndpointSettings("stand-ins", "stand-ins:"), app=app) as transport:
            return [got.body for got in await asyncio.gather(*(sent(transport, one) for one in asked))]

    with no_network():
        return asyncio.run(run())


def test_stand_ins_answer_in_this_process_without_network() -> None:
    async def echo(asked: HttpRequest) -> Response:
        body = await asked.json()
        return Response(completion(body["messages"][0]["content"].upper()), media_type="application/json")

    app = Starlette(routes=[Route("/v1/chat/completions", echo, methods=["POST"])])
    found = in_process(app, *(request(f"q{number}") for number in range(50)))
    assert found == [completion(f"Q{number}") for number in range(50)]


def test_errors_of_an_app_in_this_process_are_faults_like_any_servers() -> None:
    async def refuse(_asked: HttpRequest) -> Response:
        return JSONResponse({"error": {"message": "no such model"}}, status_code=404)

    async def crash(_asked: HttpRequest) -> Response:
        raise RuntimeError("bug in the app")

    for endpoint, status in ((refuse, 404), (crash, 500)):
        app = Starlette(routes=[Route("/v1/chat/completions", endpoint, methods=["POST"])])
        with pytest.raises(TransportFault) as caught:
            in_process(app, request("a"))
        assert caught.value.status == status


def test_an_app_in_this_process_that_is_too_slow_is_a_timeout() -> None:
    async def stall(_asked: HttpRequest) -> Response:
        await asyncio.Event().wait()
        raise AssertionError("nobody waits for this")

    app = Starlette(routes=[Route("/v1/chat/completions", stall, methods=["POST"])])

    async def run() -> None:
        async with OpenAITransport(EndpointSettings("stand-ins", "stand-ins:", timeout_s=0.1), app=app) as transport:
            await sent(transport, request("a"))

    with pytest.raises(TransportFault, match=r"no complete answer within 0\.1 s"):
        asyncio.run(run())


def test_the_sdk_is_imported_only_when_an_endpoint_is_opened() -> None:
    code = (
        "import sys, valbench_dagster.adapters.openai.transport, valbench_dagster.llm.dispatcher; "
        "print([name for name in ('openai', 'httpx2', 'aiohttp', 'sqlalchemy') if name in sys.modules])"
    )
    command, root = [sys.executable, "-c", code], Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
