"""The OpenAI transport against a small real server on loopback, and against an app in this process."""

import asyncio
import logging
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from valbench_dagster.adapters.openai_client import OpenAITransport
from valbench_dagster.llm.apis.wire import request_body
from valbench_dagster.llm.calls import Message, Request, ServedModel
from valbench_dagster.llm.endpoint import EndpointSettings, TransportFault
from valbench_dagster_tests.llm_fakes import completion, request

KEY = "sk-very-secret-key-0123456789"


@dataclass
class LoopbackServer:
    """An HTTP server that answers every request with the same bytes, then closes, and keeps what it was sent."""

    answer: bytes
    stall: bool = False
    port: int = 0
    received: list[bytes] = field(default_factory=list)
    handlers: list[asyncio.Task[Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def head(self) -> str:
        return self.received[0].partition(b"\r\n\r\n")[0].decode().lower()

    @property
    def body(self) -> Any:
        return orjson.loads(self.received[0].partition(b"\r\n\r\n")[2])

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self.handlers.append(handler)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
            self.received.append(head + await reader.readexactly(length))
            writer.write(self.answer)
            await writer.drain()
            if self.stall:
                await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen, and at the end wait until every connection is closed."""
        async with await asyncio.start_server(self.handle, "127.0.0.1", 0) as listening:
            self.port = listening.sockets[0].getsockname()[1]
            yield
            await asyncio.gather(*self.handlers)


async def sent(transport: OpenAITransport, asked: Request) -> bytes:
    return (await transport.send(asked, orjson.dumps(request_body(asked)))).body


def http(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def talk(server: LoopbackServer, asked: Request | None = None, **settings: Any) -> bytes:
    """Start the server, send one request to it, and stop it."""

    async def run() -> bytes:
        async with server.serving():
            given = {"name": "lab", "base_url": server.url, "api_key": KEY, "concurrency": 2, "timeout_s": 20.0}
            async with OpenAITransport(EndpointSettings(**{**given, **settings})) as transport:
                return await sent(transport, asked or request("hello"))

    return asyncio.run(run())


def fault_of(server: LoopbackServer, **settings: Any) -> TransportFault:
    with pytest.raises(TransportFault) as caught:
        talk(server, **settings)
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in shown
    assert caught.value.__cause__ is caught.value.__context__ is None
    return caught.value


def run_python(code: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    command, root = [sys.executable, "-c", code], Path(__file__).parents[1]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=60, check=True)


def error_body(message: str, **more: str) -> bytes:
    return orjson.dumps({"error": {"message": message, **more}})


def test_the_body_sent_is_the_request_and_the_body_received_is_given_as_it_came() -> None:
    schema = {"type": "object", "properties": {"score": {"enum": [1, 2]}}}
    served = ServedModel("lab", "lab", "chat", "gemma", 1, {"temperature": 0.1, "max_tokens": 9})
    asked = Request(served, (Message("system", "Be brief."), Message("user", "Grüße")), "verdict", schema)
    server = LoopbackServer(http("200 OK", completion("  yes ")))
    assert talk(server, asked) == completion("  yes ")
    assert server.body == {
        "model": "gemma",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Grüße"}],
        "temperature": 0.1,
        "max_tokens": 9,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "verdict", "schema": schema, "strict": True},
        },
    }
    assert server.body == request_body(asked)
    assert server.head.startswith("post /v1/chat/completions http/1.1")


def test_the_key_and_the_headers_of_the_roster_are_sent() -> None:
    server = LoopbackServer(http("200 OK", completion("yes")))
    talk(server, headers={"X-Team": "bench"})
    assert f"authorization: bearer {KEY}" in server.head
    assert "x-team: bench" in server.head
    assert "content-type: application/json" in server.head


def test_without_a_key_no_authorization_is_sent_but_one_among_the_headers_is() -> None:
    server = LoopbackServer(http("200 OK", completion("yes")))
    talk(server, api_key=None)
    assert "authorization" not in server.head
    server = LoopbackServer(http("200 OK", completion("yes")))
    talk(server, api_key=None, headers={"authorization": "Basic abc"})
    assert "authorization: basic abc" in server.head


def test_nothing_of_the_environment_is_sent() -> None:
    # In a process of its own, where the SDK's variables are set.
    code = """if True:
        from valbench_dagster_tests.llm_fakes import completion
        from valbench_dagster_tests.test_openai_client import LoopbackServer, http, talk
        server = LoopbackServer(http("200 OK", completion("yes")))
        talk(server, api_key=None)
        print(server.head)
    """
    ambient = {
        "OPENAI_API_KEY": "ambient-1",
        "OPENAI_ADMIN_KEY": "ambient-2",
        "OPENAI_ORG_ID": "ambient-3",
        "OPENAI_PROJECT_ID": "ambient-4",
        "OPENAI_CUSTOM_HEADERS": "X-Ambient: ambient-5",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/ambient-6",
    }
    done = run_python(code, env=ambient)
    assert "post /v1/chat/completions" in done.stdout
    assert "ambient" not in done.stdout


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429, 500, 503])
def test_an_error_status_is_a_fault_with_the_servers_message(status: int) -> None:
    server = LoopbackServer(http(f"{status} Oh", error_body("context too long", code="context_length_exceeded")))
    fault = fault_of(server)
    assert (fault.kind, fault.status) == ("status", status)
    assert fault.message == "context_length_exceeded: context too long"
    assert len(server.received) == 1  # the SDK does not retry on its own


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"object": "error", "message": "vLLM of old", "code": 400}', "vLLM of old"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b"<html>Bad\n  gateway</html>", "<html>Bad gateway</html>"),
        (b"", "no message"),
        (b'{"error": "plain text"}', "plain text"),
        (b'{"error": {"message": "half \\ud83d"}}', "half \\ud83d"),
    ],
)
def test_the_message_of_an_error_is_found_wherever_servers_put_it(body: bytes, message: str) -> None:
    assert fault_of(LoopbackServer(http("400 Bad Request", body))).message == message


def test_retry_after_is_read_from_the_answer() -> None:
    body = error_body("slow down")
    assert fault_of(LoopbackServer(http("429 Too Many", body, "Retry-After: 7"))).retry_after == 7.0
    assert fault_of(LoopbackServer(http("503 Away", body, "retry-after-ms: 1500"))).retry_after == 1.5
    assert fault_of(LoopbackServer(http("429 Too Many", body))).retry_after is None


def test_a_redirect_is_not_followed() -> None:
    fault = fault_of(LoopbackServer(http("307 Moved", b"", "Location: http://127.0.0.1:9/")))
    assert (fault.kind, fault.status) == ("status", 307)


def test_a_key_that_the_server_echoes_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    body = error_body(f"Incorrect API key provided: {KEY}. Header: Bearer {KEY}")
    fault = fault_of(LoopbackServer(http("401 Unauthorized", body)))
    assert fault.message == "Incorrect API key provided: [secret]. Header: Bearer [secret]"
    assert KEY not in caplog.text


def test_secrets_in_headers_are_never_shown_either() -> None:
    body = error_body("bad header api-key=azure-secret-0123456789")
    fault = fault_of(LoopbackServer(http("401 No", body)), headers={"api-key": "azure-secret-0123456789"})
    assert fault.message == "bad header api-key=[secret]"


def test_a_key_across_the_cut_of_a_long_message_leaves_nothing_of_itself() -> None:
    fault = fault_of(LoopbackServer(http("401 No", error_body("x" * 995 + KEY))))
    assert "sk-" not in fault.message
    assert fault.message.endswith("[cut]")


def test_settings_show_no_secret() -> None:
    settings = EndpointSettings("lab", "http://h/v1", KEY, headers={"a": KEY}, proxy=f"http://u:{KEY}@p")
    assert KEY not in repr(settings)


def test_a_body_cut_short_is_a_fault_of_the_connection() -> None:
    fault = fault_of(LoopbackServer(http("200 OK", completion("yes")[:40], length=5000)))
    assert (fault.kind, fault.status) == ("connection", None)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 20", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"\x00" * 100])
def test_what_is_no_http_is_a_fault_of_the_connection(answer: bytes) -> None:
    assert fault_of(LoopbackServer(answer)).kind == "connection"


def test_a_body_in_a_broken_encoding_is_a_fault() -> None:
    fault = fault_of(LoopbackServer(http("200 OK", b"no gzip at all", "Content-Encoding: gzip")))
    assert fault.kind == "connection"


def test_a_refused_connection_is_a_fault_that_names_the_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port, nobody answers
        port = taken.getsockname()[1]
        fault = fault_of(LoopbackServer(b""), base_url=f"http://127.0.0.1:{port}/v1")
    assert fault.kind == "connection"
    assert str(port) in fault.message


@pytest.mark.parametrize("begun", [b"", http("200 OK", b'{"choices"', length=5000)])
def test_a_server_that_stalls_is_a_timeout(begun: bytes) -> None:
    fault = fault_of(LoopbackServer(begun, stall=True), timeout_s=0.2)
    assert (fault.kind, fault.status) == ("timeout", None)
    assert "0.2 s" in fault.message


def test_a_body_that_is_no_json_is_given_as_it_came() -> None:
    # Whether a body is a reply is for the engine to say.
    assert talk(LoopbackServer(http("200 OK", b"<html>", "Content-Type: application/json"))) == b"<html>"


def test_a_proxy_is_asked_for_the_whole_address() -> None:
    server = LoopbackServer(http("200 OK", completion("yes")))

    async def run() -> bytes:
        async with server.serving():
            settings = EndpointSettings("lab", "http://model.invalid/v1", KEY, proxy=f"http://127.0.0.1:{server.port}")
            async with OpenAITransport(settings) as transport:
                return await sent(transport, request("hello"))

    assert asyncio.run(run()) == completion("yes")
    assert server.head.startswith("post http://model.invalid/v1/chat/completions")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ca_file": "/no/such/file.pem"}, "ca_file /no/such/file.pem cannot be read"),
        ({"ca_file": __file__}, "cannot be read"),
        ({"api_key": "sk-1234567890\n"}, "line break"),
        ({"base_url": "stand-ins:"}, "no app"),
    ],
)
def test_settings_that_cannot_work_are_refused_when_opening(settings: dict[str, Any], said: str) -> None:
    given = EndpointSettings(**{"name": "lab", "base_url": "http://127.0.0.1:9/v1", **settings})
    with pytest.raises(ValueError, match=said) as caught:
        OpenAITransport(given)
    assert "lab" in str(caught.value)
    assert "sk-1234567890" not in str(caught.value)


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
            return await asyncio.gather(*(sent(transport, one) for one in asked))

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


def test_the_sdk_is_imported_only_when_an_endpoint_is_opened() -> None:
    code = (
        "import sys, valbench_dagster.adapters.openai_client, valbench_dagster.llm.dispatcher; "
        "print([name for name in ('openai', 'httpx2', 'aiohttp', 'sqlalchemy') if name in sys.modules])"
    )
    done = run_python(code)
    assert done.stdout.strip() == "[]"
