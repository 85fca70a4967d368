"""Every fault a server can do to a call, each alone and all together: what becomes of it in transport and engine."""

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from valbench_dagster.adapters.openai.transport import OpenAITransport
from valbench_dagster.llm.dispatcher import EndpointRefused
from valbench_dagster.llm.endpoint import EndpointSettings, TransportFault
from valbench_dagster.llm.replies import BadReply, read_reply
from valbench_dagster.llm.retry import RetryRules
from valbench_dagster_tests.fault_answers import FAULTS, ODDITIES
from valbench_dagster_tests.fault_server import FaultServer, always, at_first, by_chance, evenly, serving
from valbench_dagster_tests.faulty_runs import RULES, ask, check, open_ledger, questions
from valbench_dagster_tests.llm_fakes import question, request
from valbench_dagster_tests.loopback_server import sent

KEY = "sk-0123456789"

EXPECTED = {
    "throttled": "HTTP 429: server_error: slow down",
    "throttled_for_seconds": "HTTP 429: server_error: slow down",
    "throttled_for_milliseconds": "HTTP 429: server_error: slow down",
    "throttled_until_a_date": "HTTP 429: server_error: slow down",
    "throttled_with_limits": "HTTP 429: server_error: slow down",
    "error_500": "HTTP 500: server_error: output does not match the grammar",
    "error_503": "HTTP 503: server_error: the model is loading",
    "error_529": "HTTP 529: server_error: overloaded",
    "page_502": "HTTP 502: a page of HTML: Bad gateway 502",
    "page_200": "broken: not JSON",
    "reset_before": "connection: the connection broke (Connection reset by peer)",
    "reset_within": "connection: the answer broke off",
    "closed_before": "connection: the server closed the connection without an answer",
    "stall_before": "timeout: the server was silent for 0.2 s",
    "stall_within": "timeout: the server was silent for 0.2 s",
    "half_json": "broken: not JSON",
    "empty_body": "broken: not JSON",
    "error_with_200": "broken: an error with a success status",
    "length_too_large": "connection: the answer broke off",
    "length_too_small": "connection: the answer is no HTTP",
    "chunks_cut_short": "connection: the answer broke off",
    "no_http": "connection: the answer is no HTTP",
}


def one_try(server: FaultServer) -> str:
    """Send one request; give the text of its reply, or its fault as it is stored."""

    async def run() -> str:
        settings = EndpointSettings("lab", server.base_url, KEY, timeout_s=10.0, first_byte_timeout_s=0.2)
        async with OpenAITransport(settings) as transport:
            try:
                received = await sent(transport, request("hello"))
                return read_reply("chat", received.body).text or ""
            except TransportFault as fault:
                return str(fault)
            except BadReply as bad:
                return f"broken: {bad}"

    with serving(server):
        return asyncio.run(run())


def test_every_fault_of_the_server_has_its_expectation() -> None:
    assert EXPECTED.keys() == FAULTS.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_fault_is_named_for_what_it_is(name: str) -> None:
    assert one_try(FaultServer(always(name))).startswith(EXPECTED[name])


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_a_reply_all_the_same(name: str) -> None:
    assert one_try(FaultServer(always(name))) == "reply 1 to hello"


@pytest.mark.parametrize("name", [*FAULTS, *ODDITIES])
def test_a_run_gets_over_a_fault_that_every_first_try_meets(name: str, tmp_path: Path) -> None:
    asked = questions(3 if name == "big" or name.startswith("stall") else 8)
    with serving(FaultServer(at_first(name))) as server, open_ledger(tmp_path) as ledger:
        tally = ask(server, ledger, asked, concurrency=4, first_byte_timeout_s=0.3)
        assert check(server, ledger, asked) == {"reply": len(asked)}
        assert (tally.asked, tally.failed, ledger.count()) == (len(asked), 0, len(asked))
        assert server.answers[name] >= len(asked)


def test_no_more_calls_and_connections_are_open_than_the_endpoint_allows(tmp_path: Path) -> None:
    asked = questions(80)
    with serving(FaultServer(latency_s=0.02)) as server, open_ledger(tmp_path) as ledger:
        ask(server, ledger, asked, concurrency=8)
        assert check(server, ledger, asked) == {"reply": 80}
        assert (server.most_in_flight, server.connections) == (8, 8)


@pytest.mark.parametrize("name", ["answered_again_later", "closed_later"])
def test_what_happens_on_an_idle_connection_harms_no_call(name: str) -> None:
    # While the connection lies in the pool the server sends another answer, or closes it. The next call must neither
    # take that answer for its own nor fail: it has not been sent yet.
    async def run(server: FaultServer) -> list[str]:
        seen = []
        async with OpenAITransport(EndpointSettings("lab", server.base_url, KEY)) as transport:
            for _ in range(4):
                seen.append(read_reply("chat", (await sent(transport, request("hello"))).body).text or "")
                async with asyncio.timeout(10):
                    while server.in_flight:  # until it has said and done all
                        await asyncio.sleep(0.005)
        return seen

    with serving(FaultServer(always(name))) as server:
        assert asyncio.run(run(server)) == [f"reply {number} to hello" for number in (1, 2, 3, 4)]
        assert server.connections == 4


SHARES = {**evenly([*FAULTS], 0.3), **evenly([name for name in ODDITIES if name != "big"], 0.1)}


def test_of_400_calls_with_30_percent_faults_each_ends_once(tmp_path: Path) -> None:
    asked = questions(400)
    with serving(FaultServer(by_chance(SHARES, seed=7))) as server, open_ledger(tmp_path) as ledger:
        tally = ask(server, ledger, asked, first_byte_timeout_s=0.3)
        outcomes = check(server, ledger, asked)
        assert ledger.count() == 400 == tally.asked
        assert outcomes["reply"] + outcomes["failed"] == 400
        assert outcomes["failed"] == tally.failed <= 8  # by chance 400 x 0.3 ^ 6 = 0.3
        # About 0.3 x 400 / 0.7 = 171 faults are met.
        assert 100 < sum(server.answers[name] for name in FAULTS) < 300
        missing, served = outcomes["failed"], sum(server.tries.values())
        server.script = always("good")
        again = ask(server, ledger, asked)
        assert (again.from_ledger, again.asked) == (400 - missing, missing)
        assert sum(server.tries.values()) == served + missing
        assert check(server, ledger, asked) == {"reply": 400}


@pytest.mark.parametrize("impatient", [False, True])
def test_one_prompt_that_is_far_too_long_is_rejected_alone(tmp_path: Path, impatient: bool) -> None:
    asked = [*questions(20), question("far too long " * 800_000), *questions(40)[20:]]
    server = FaultServer(longest_body=1_000_000, impatient=impatient)
    with serving(server), open_ledger(tmp_path) as ledger:
        tally = ask(server, ledger, asked)
        assert check(server, ledger, asked) == {"reply": 40, "rejected": 1}
        assert (tally.rejected, ledger.count()) == (1, 41)


def refusal(server: FaultServer, tmp_path: Path, rules: RetryRules = RULES, **settings: Any) -> EndpointRefused:
    """Give the error that ends a run at once; it shows neither the key nor the address."""
    with serving(server), open_ledger(tmp_path) as ledger:
        with pytest.raises(EndpointRefused) as caught:
            ask(server, ledger, questions(40), rules, concurrency=4, **settings)
        assert ledger.replies([one.request.fingerprint for one in questions(40)]) == {}
        assert sum(server.tries.values()) <= 60
    for secret in (KEY, server.base_url, server.base_url[7:-3]):
        assert secret not in str(caught.value)
    assert "[endpoint.lab]" in str(caught.value) or "endpoint lab" in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("wrong_key", 401, "Incorrect API key provided: [secret]"),
        ("unknown_model", 404, "The model `m` does not exist"),
        ("page_404", 404, "check base_url of [endpoint.lab]"),
    ],
)
def test_a_refusal_ends_the_run_at_once_with_what_to_mend(name: str, status: int, said: str, tmp_path: Path) -> None:
    error = refusal(FaultServer(always(name)), tmp_path)
    assert error.status == status
    assert said in str(error)


def test_an_address_where_nothing_listens_ends_the_run_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with open_ledger(tmp_path) as ledger, pytest.raises(EndpointRefused) as caught:
            ask(FaultServer(base_url=base_url), ledger, questions(40))
    assert "Connection refused" in str(caught.value)
    assert "base_url of [endpoint.lab]" in str(caught.value)
    assert not re.search(r"127\.0\.0\.1|sk-0", str(caught.value))


def test_a_server_that_speaks_no_http_ends_the_run(tmp_path: Path) -> None:
    rules = RetryRules(first_delay_s=0.01, first_probe_s=0.05, longest_probe_s=0.1, down_after_s=0.5)
    assert "no HTTP" in str(refusal(FaultServer(always("no_http")), tmp_path, rules))
