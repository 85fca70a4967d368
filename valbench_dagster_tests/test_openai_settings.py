"""What the roster says of an endpoint is what is sent to it: key, headers, query, proxy, CA file, and nothing else."""

import asyncio
import base64
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from valbench_dagster.adapters.openai.transport import OpenAITransport
from valbench_dagster.llm.endpoint import EndpointSettings, TransportFault
from valbench_dagster_tests.llm_fakes import completion, request
from valbench_dagster_tests.loopback_server import KEY, LoopbackServer, fault_of, http, sent, talk

OK = http("200 OK", completion("yes"))


def head_of(**settings: Any) -> str:
    """Give the head, in lower case, of one request under these settings."""
    server = LoopbackServer(OK)
    talk(server, **settings)
    return server.head


def run_python(code: str, env: dict[str, str] | None = None) -> str:
    """Run code in a process of its own and give what it printed."""
    command, root = [sys.executable, "-c", code], Path(__file__).parents[1]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=60, check=True).stdout


def test_the_key_and_the_headers_of_the_roster_are_sent() -> None:
    head = head_of(headers={"X-Team": "bench", "accept": "application/json;q=0.9"})
    assert f"authorization: bearer {KEY}" in head
    assert "x-team: bench" in head
    assert "content-type: application/json" in head
    assert [line for line in head.split("\r\n") if line.startswith("accept:")] == ["accept: application/json;q=0.9"]


def test_without_a_key_no_authorization_is_sent_but_one_among_the_headers_is() -> None:
    assert "authorization" not in head_of(api_key=None)
    assert "authorization: basic abc" in head_of(api_key=None, headers={"authorization": "Basic abc"})


@pytest.mark.parametrize("name", ["api-key", "Authorization", "X-Api-Key"])
def test_a_header_that_carries_the_key_takes_the_place_of_the_bearer(name: str) -> None:
    head = head_of(headers={name: "Token {key}"})
    assert f"{name.lower()}: token {KEY}" in head
    assert head.count(KEY) == 1


def test_a_login_in_the_address_is_sent_as_such_and_shown_nowhere() -> None:
    server = LoopbackServer(http("401 No", b'{"error": "no user me with pa:ss at all"}'))

    async def run() -> None:
        async with server.serving():
            settings = EndpointSettings("lab", server.url.replace("//", "//me:pa%3Ass@"))
            async with OpenAITransport(settings) as transport:
                await sent(transport, request("hello"))

    with pytest.raises(TransportFault) as caught:
        asyncio.run(run())
    assert caught.value.message == "no user me with [secret] at all"
    assert f"authorization: basic {base64.b64encode(b'me:pa:ss').decode().lower()}" in server.head


def test_the_query_is_put_behind_the_address() -> None:
    assert head_of(query={"api-version": "2024-10-21"}).startswith(
        "post /v1/chat/completions?api-version=2024-10-21 http/1.1\r\n"
    )


def test_a_base_url_may_end_in_a_slash() -> None:
    server = LoopbackServer(OK)

    async def run() -> None:
        async with server.serving(), OpenAITransport(EndpointSettings("lab", server.url + "/")) as transport:
            await sent(transport, request("hello"))

    asyncio.run(run())
    assert server.head.startswith("post /v1/chat/completions http/1.1\r\n")


def test_nothing_of_the_environment_is_sent() -> None:
    # In a process of its own, where the SDK's variables are set.
    code = """if True:
        from valbench_dagster_tests.llm_fakes import completion
        from valbench_dagster_tests.loopback_server import LoopbackServer, http, talk
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
    head = run_python(code, env=ambient)
    assert "post /v1/chat/completions" in head
    assert "ambient" not in head
    assert "stainless" not in head


def test_settings_show_no_secret() -> None:
    settings = EndpointSettings("lab", "http://h/v1", KEY, headers={"a": KEY}, proxy=f"http://u:{KEY}@p")
    assert KEY not in repr(settings)


def proxied(server: LoopbackServer, base_url: str, login: str = "") -> bytes:
    """Send one request through a proxy, which the server plays."""

    async def run() -> bytes:
        async with server.serving():
            settings = EndpointSettings("lab", base_url, KEY, proxy=f"http://{login}127.0.0.1:{server.port}")
            async with OpenAITransport(settings) as transport:
                return (await sent(transport, request("hello"))).body

    return asyncio.run(run())


def test_a_proxy_is_asked_for_the_whole_address() -> None:
    server = LoopbackServer(OK)
    assert proxied(server, "http://model.invalid/v1", "me:pa%3Ass@") == completion("yes")
    assert server.head.startswith("post http://model.invalid/v1/chat/completions")
    assert f"proxy-authorization: basic {base64.b64encode(b'me:pa:ss').decode().lower()}" in server.head


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"HTTP/1.1 407 Login\r\n\r\n", "HTTP 407: the proxy wants a login"),
        (b"HTTP/1.1 403 No\r\nX: pa:ss\r\n\r\n", "unreachable: the proxy lets nothing through (HTTP 403)"),
        (b"HTTP/1.1 502 No\r\n\r\n", "unreachable: the proxy lets nothing through (HTTP 502)"),
    ],
)
def test_a_proxy_that_lets_nothing_through_is_named_as_the_cause(answer: bytes, fault: str) -> None:
    server = LoopbackServer(answer)
    with pytest.raises(TransportFault) as caught:
        proxied(server, "https://model.invalid/v1", "me:pa%3Ass@")
    assert str(caught.value) == fault
    assert server.head.startswith("connect model.invalid:443")
    assert KEY not in server.head


def test_a_proxy_that_is_not_there_is_named_as_the_cause() -> None:
    fault = fault_of(LoopbackServer(OK), base_url="http://model.invalid/v1", proxy="http://127.0.0.1:9")
    assert str(fault) == "unreachable: no connection to the proxy (Connection refused)"


def test_the_environments_proxy_is_used_where_the_roster_names_none() -> None:
    code = """if True:
        import asyncio, os
        from valbench_dagster.adapters.openai.transport import OpenAITransport
        from valbench_dagster.llm.endpoint import EndpointSettings
        from valbench_dagster_tests.llm_fakes import completion, request
        from valbench_dagster_tests.loopback_server import LoopbackServer, http, sent
        server = LoopbackServer(http("200 OK", completion("yes"), "Connection: close"))
        async def run():
            async with server.serving():
                os.environ["http_proxy"] = f"http://me:secret@127.0.0.1:{server.port}"
                os.environ["no_proxy"] = "127.0.0.1"
                for base_url in ("http://model.invalid/v1", server.url):
                    async with OpenAITransport(EndpointSettings("lab", base_url)) as transport:
                        await sent(transport, request("hello"))
        asyncio.run(run())
        print(*(one.split(b" HTTP")[0].decode() for one in server.received), sep=" and ")
    """
    seen = run_python(code, env={})
    assert seen == "POST http://model.invalid/v1/chat/completions and POST /v1/chat/completions\n"


@pytest.fixture(scope="module")
def own_ca(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """Give a certificate of our own making, and what a server needs to show it."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    folder = tmp_path_factory.mktemp("ca")
    made = [folder / "cert.pem", folder / "key.pem"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(made[0]), "-keyout", str(made[1])]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(made[0]), str(made[1]))
    return made[0], context


def test_a_server_is_trusted_by_the_ca_file_and_not_without(own_ca: tuple[Path, ssl.SSLContext]) -> None:
    ca_file, context = own_ca
    assert talk(LoopbackServer(OK, tls=context), ca_file=str(ca_file)) == completion("yes")
    fault = fault_of(LoopbackServer(OK, tls=context))
    assert fault.kind == "unreachable"
    assert fault.message.startswith("no TLS connection (certificate verify failed: self")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ca_file": "/no/such/file.pem"}, "ca_file /no/such/file.pem cannot be read"),
        ({"ca_file": __file__}, "cannot be read"),
        ({"api_key": "sk-1234567890\n"}, "line break"),
        ({"api_key": " sk-1234567890"}, "a space"),
        ({"api_key": "sk-1234567890-ü"}, "no header may"),
        ({"headers": {"X-Team": "sk-1234567890\r\nX: y"}}, "its header 'X-Team' holds"),
        ({"headers": {"X Team": "sk-1234567890"}}, "its header 'X Team' holds"),
        ({"headers": {"api-key": "{key}"}}, "api-key wants a key"),
        ({"base_url": "stand-ins:"}, "no app"),
        ({"base_url": "127.0.0.1:8000/v1"}, "no address, expected one such as"),
        ({"base_url": "ftp://host/v1"}, "no address"),
        ({"base_url": "http:///v1"}, "no address"),
        ({"base_url": "http://host:port/v1"}, "no address"),
        ({"base_url": "http://host/v1?api-version=1"}, "belong into query"),
        ({"base_url": "http://me:sk-1234567890@host/v1", "api_key": "k"}, "a login and there is a key"),
        ({"proxy": "socks5://me:sk-1234567890@host:1080"}, "proxy is no HTTP proxy"),
        ({"proxy": "http://me:sk-1234567890@[::1"}, "proxy is no HTTP proxy"),
    ],
)
def test_settings_that_cannot_work_are_refused_when_opening(settings: dict[str, Any], said: str) -> None:
    given = EndpointSettings(**{"name": "lab", "base_url": "http://127.0.0.1:9/v1", **settings})
    with pytest.raises(ValueError, match=said) as caught:
        OpenAITransport(given)
    assert "endpoint lab" in str(caught.value)
    assert "sk-1234567890" not in str(caught.value)
    assert caught.value.__cause__ is None
