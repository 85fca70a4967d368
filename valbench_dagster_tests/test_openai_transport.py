"""The OpenAI transport against a small real server on loopback: what is sent, what comes back, and every fault."""

import asyncio
import gzip
import logging
import socket

import pytest

from valbench_dagster.adapters.openai.connection import Connection
from valbench_dagster.adapters.openai.http import ERROR_BODY_LIMIT
from valbench_dagster.adapters.openai.redaction import MESSAGE_LIMIT
from valbench_dagster.adapters.openai.transport import OpenAITransport
from valbench_dagster.llm.apis.wire import request_body
from valbench_dagster.llm.calls import Message, Request, ServedModel
from valbench_dagster.llm.endpoint import EndpointSettings, RateHints, TransportFault
from valbench_dagster_tests.llm_fakes import completion, request
from valbench_dagster_tests.loopback_server import KEY, LoopbackServer, error_body, fault_of, http, received, sent, talk


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
        (b"<html>Bad\n  gateway</html>", "a page of HTML: Bad gateway"),
        (b"<!DOCTYPE html><style>p {x: y}</style><p>No <b>such</b> page</p>", "a page of HTML: No such page"),
        (b"1 < 2", "1 < 2"),
        (b"[" * 5000, "[" * MESSAGE_LIMIT + " [cut]"),
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


# The server's clock is years behind ours: half a minute is half a minute.
def test_a_retry_after_by_another_clock_is_understood() -> None:
    dates = ("Date: Sat, 01 Jan 2000 00:00:00 GMT", "Retry-After: Sat, 01 Jan 2000 00:00:30 GMT")
    assert fault_of(LoopbackServer(http("429 Too Many", error_body("slow down"), *dates))).retry_after == 30.0


def test_what_is_left_of_the_servers_limits_is_read_from_replies_and_from_errors() -> None:
    said = ("X-RateLimit-Remaining-Requests: 3", "x-ratelimit-reset-requests: 1m2s")
    left = RateHints(requests_left=3, requests_reset_s=62.0)
    assert received(LoopbackServer(http("200 OK", completion("yes"), *said))).hints == left
    assert fault_of(LoopbackServer(http("429 Too Many", error_body("no"), *said))).hints == left
    assert received(LoopbackServer(http("200 OK", completion("yes")))).hints is None


def test_a_redirect_is_not_followed() -> None:
    fault = fault_of(LoopbackServer(http("307 Moved", b"", "Location: http://127.0.0.1:9/")))
    assert (fault.kind, fault.status) == ("status", 307)


def test_a_body_cut_short_is_a_fault_of_the_connection() -> None:
    fault = fault_of(LoopbackServer(http("200 OK", completion("yes")[:40], length=5000)))
    assert (fault.kind, fault.status) == ("connection", None)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 20", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"\x00" * 100])
def test_what_is_no_http_is_a_fault_of_the_connection(answer: bytes) -> None:
    assert fault_of(LoopbackServer(answer)).kind == "connection"


def test_a_body_in_a_broken_encoding_is_a_fault() -> None:
    fault = fault_of(LoopbackServer(http("200 OK", b"no gzip at all", "Content-Encoding: gzip")))
    assert fault.kind == "connection"


def test_a_refused_connection_is_a_fault_that_names_no_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port, nobody answers
        port = taken.getsockname()[1]
        fault = fault_of(LoopbackServer(b""), base_url=f"http://127.0.0.1:{port}/v1")
    assert str(fault) == "unreachable: no connection (Connection refused)"


def test_a_host_that_does_not_exist_is_a_fault_that_names_no_address() -> None:
    # Of more than 255 characters: no host can be called so, and no server is asked.
    fault = fault_of(LoopbackServer(b""), base_url=f"http://{'.'.join(['x' * 60] * 5)}/v1")
    assert str(fault) == "unreachable: no such host"


def https_fault(server: LoopbackServer, connect_timeout_s: float = 30.0) -> TransportFault:
    """Give the fault of one request by HTTPS to a server that speaks none."""

    async def run() -> None:
        async with server.serving():
            address = server.url.replace("http:", "https:")
            settings = EndpointSettings("lab", address, KEY, connect_timeout_s=connect_timeout_s)
            async with OpenAITransport(settings) as transport:
                await sent(transport, request("hello"))

    with pytest.raises(TransportFault) as caught:
        asyncio.run(run())
    assert server.received == []
    return caught.value


def test_a_server_without_tls_is_unreachable_by_https() -> None:
    fault = https_fault(LoopbackServer(http("400 Bad Request", b""), at_once=True))
    assert str(fault).startswith("unreachable: no TLS connection (")


def test_a_connection_that_is_never_made_is_given_up_in_its_own_time() -> None:
    # Accepted, but the handshake never comes: nothing has been sent.
    assert str(https_fault(LoopbackServer(b""), connect_timeout_s=0.2)) == "unreachable: no connection within 0.2 s"


def test_a_server_that_speaks_first_is_no_http_server() -> None:
    fault = fault_of(LoopbackServer(b"SSH-2.0-OpenSSH_9.2\r\n", at_once=True))
    assert fault.kind == "connection"
    assert "is it an HTTP server?" in fault.message or "no HTTP" in fault.message


@pytest.mark.parametrize("begun", [b"", http("200 OK", b'{"choices"', length=5000)])
def test_a_server_that_stalls_is_a_timeout(begun: bytes) -> None:
    fault = fault_of(LoopbackServer(begun, stall=True), timeout_s=0.2)
    assert str(fault) == "timeout: no complete answer within 0.2 s"


@pytest.mark.parametrize("begun", [b"", http("200 OK", b'{"choices"', length=5000)])
def test_a_silence_is_cut_short_of_the_whole_time(begun: bytes) -> None:
    fault = fault_of(LoopbackServer(begun, stall=True), timeout_s=60.0, first_byte_timeout_s=0.2)
    assert str(fault) == "timeout: the server was silent for 0.2 s"


def test_a_body_that_is_no_json_is_given_as_it_came() -> None:
    # Whether a body is a reply is for the engine to say.
    assert talk(LoopbackServer(http("200 OK", b"<html>", "Content-Type: application/json"))) == b"<html>"


def test_a_packed_body_is_unpacked() -> None:
    packed = gzip.compress(completion("yes"))
    assert talk(LoopbackServer(http("200 OK", packed, "Content-Encoding: gzip"))) == completion("yes")


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_an_answer_beyond_all_measure_is_a_fault_and_not_memory(encoding: str) -> None:
    body = b"x" * 1_000_000
    server = LoopbackServer(
        http("200 OK", gzip.compress(body) if encoding == "gzip" else body, f"Content-Encoding: {encoding}")
    )

    async def run(limit: int) -> int:
        async with server.serving():
            connection = Connection(EndpointSettings("lab", server.url), body_limit=limit)
            try:
                return len((await connection.post("chat/completions", b"{}")).content)
            finally:
                await connection.close()

    assert asyncio.run(run(1_000_000)) == 1_000_000
    with pytest.raises(TransportFault, match="more than 999,999 bytes") as caught:
        asyncio.run(run(999_999))
    assert caught.value.kind == "broken"


def test_of_a_long_error_only_the_beginning_is_read() -> None:
    fault = fault_of(LoopbackServer(http("500 Oh", b"No! " * ERROR_BODY_LIMIT)))
    assert (fault.kind, fault.status) == ("status", 500)
    assert fault.message == ("No! " * ERROR_BODY_LIMIT)[:MESSAGE_LIMIT] + " [cut]"


def test_no_cookie_is_kept() -> None:
    # A balancer's cookie would send every later call to one of its servers.
    server = LoopbackServer(http("200 OK", completion("yes"), "Set-Cookie: server=one", "Connection: close"))

    async def run() -> None:
        async with server.serving(), OpenAITransport(EndpointSettings("lab", server.url)) as transport:
            for _ in range(2):
                await sent(transport, request("hello"))

    asyncio.run(run())
    assert len(server.received) == 2
    assert b"cookie" not in server.received[1].lower()


def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    fault_of(LoopbackServer(http("401 Unauthorized", error_body(f"Incorrect API key provided: {KEY}"))))
    talk(LoopbackServer(http("200 OK", completion("yes"))))
    assert KEY not in caplog.text
