"""No key, header value, password or address is ever shown, wherever a server may echo it."""

import base64
import html
import json
import string
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.adapters.openai.connection import Connection
from valbench_dagster.adapters.openai.redaction import MESSAGE_LIMIT, Redaction
from valbench_dagster.llm.endpoint import EndpointSettings
from valbench_dagster_tests.loopback_server import LoopbackServer, error_body, fault_of, http

KEY = "sk-Aa1/bB2+cC3=dD4&eE5\"fF6'gG7"
HEADER = "azure-9876543210-zyxwvut"
PROXY_LOGIN = "p<ass>w0rd-of-proxy"
SETTINGS = EndpointSettings(
    "lab",
    "https://models.example.org:8443/v1",
    KEY,
    headers={"X-Own-Key": HEADER, "X-Flag": "true"},
    query={"api-version": "2024-10-21", "sig": "signature-of-query-1"},
    proxy=f"http://me:{quote(PROXY_LOGIN, safe='')}@proxy.example.org:3128",
)
SECRETS = (KEY, HEADER, PROXY_LOGIN, "signature-of-query-1")


@pytest.fixture(scope="module")
def redaction() -> Redaction:
    return Connection(SETTINGS).redaction


SPELLINGS: list[Callable[[str], str]] = [
    str,
    lambda secret: json.dumps(secret)[1:-1],
    lambda secret: secret.replace("/", "\\/"),
    html.escape,
    lambda secret: quote(secret, safe=""),
    lambda secret: f"Bearer {secret}",
    lambda secret: secret[:-4] + "****",
    lambda secret: "..." + secret[3:],
    lambda secret: f"{secret}{secret}",
]


@given(st.text(max_size=1200), st.sampled_from(SECRETS), st.sampled_from(SPELLINGS), st.text(max_size=1200))
def test_a_secret_never_shows_wherever_and_however_it_is_echoed(
    redaction: Redaction, before: str, secret: str, spelling: Callable[[str], str], after: str
) -> None:
    shown = redaction.clean(before + spelling(secret) + after)
    assert len(shown) <= MESSAGE_LIMIT + len(" [cut]")
    assert secret not in shown
    # Nor a dozen characters in a row of it, however the echo was escaped or cut.
    pieces = {secret[start : start + 12] for start in range(len(secret) - 11)}
    assert not any(piece in shown for piece in pieces)


@given(st.text(string.ascii_letters + " .,:;!?", max_size=MESSAGE_LIMIT))
def test_a_text_without_secrets_stays_as_it_is_but_for_its_spaces(redaction: Redaction, text: str) -> None:
    assert redaction.clean(text) == " ".join(text.split())


def test_what_is_no_secret_is_shown(redaction: Redaction) -> None:
    said = "model `azure-9` needs api-version 2024-10-21, stream must be true, key sk-...gG7 is unknown"
    assert redaction.clean(said) == said


def test_no_address_is_shown(redaction: Redaction) -> None:
    said = "no route https://models.example.org:8443/v1/chat at models.example.org via proxy.example.org:3128"
    assert redaction.clean(said) == "no route [address]/chat at [address] via [address]"


def test_a_word_that_is_a_host_too_is_left_in_messages() -> None:
    local = Connection(EndpointSettings("lab", "http://gateway:8000/v1")).redaction
    assert local.clean("bad gateway at gateway:8000") == "bad gateway at [address]"


def test_a_login_is_hidden_in_base_64_too(redaction: Redaction) -> None:
    login = base64.b64encode(f"me:{PROXY_LOGIN}".encode()).decode()
    assert redaction.clean(f"Proxy-Authorization: Basic {login}") == "Proxy-Authorization: Basic [secret]"


@given(st.data())
def test_a_key_of_any_characters_never_shows(data: st.DataObject) -> None:
    printable = string.ascii_letters + string.digits + string.punctuation
    key = data.draw(st.text(printable, min_size=8, max_size=60))
    redaction = Connection(EndpointSettings("lab", "http://h/v1", key)).redaction
    text = data.draw(st.text(max_size=60)) + key + data.draw(st.text(max_size=60))
    assert key not in redaction.clean(text)


def test_a_key_that_the_server_echoes_is_never_shown() -> None:
    key = "sk-very-secret-key-0123456789"
    body = error_body(f"Incorrect API key provided: {key}. Header: Bearer {key}")
    fault = fault_of(LoopbackServer(http("401 Unauthorized", body)))
    assert fault.message == "Incorrect API key provided: [secret]. Header: Bearer [secret]"


def test_secrets_in_headers_are_never_shown_either() -> None:
    body = error_body("bad header api-key=azure-secret-0123456789")
    fault = fault_of(LoopbackServer(http("401 No", body)), headers={"api-key": "azure-secret-0123456789"})
    assert fault.message == "bad header api-key=[secret]"


@pytest.mark.parametrize("start", range(MESSAGE_LIMIT - 30, MESSAGE_LIMIT + 2))
def test_a_key_across_the_cut_of_a_long_message_leaves_nothing_of_itself(redaction: Redaction, start: int) -> None:
    shown = redaction.clean("x" * start + KEY + "y" * 100)
    assert "sk-" not in shown
    assert shown.endswith("[cut]")
