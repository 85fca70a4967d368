"""Asking by batches over real HTTP on loopback: the adapter, a server that keeps to the public documentation, SQLite.

The engine's clock costs no time; what goes over the wire is real.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import pytest

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.adapters.openai.batch import OpenAIBatchTransport
from valbench_dagster.llm.batches.flow import ask_by_batches
from valbench_dagster.llm.batches.port import OUR_KEY, BatchLimits, LineError
from valbench_dagster.llm.calls import Question
from valbench_dagster.llm.endpoint import EndpointSettings, TransportFault
from valbench_dagster.llm.settle import answers
from valbench_dagster.llm.stops import EndpointRefused
from valbench_dagster.llm.tally import Tally
from valbench_dagster_tests.batch_fakes import STEP, asked
from valbench_dagster_tests.batch_provider import BatchProvider, Fate, Fault, billed_twice
from valbench_dagster_tests.batch_server import KEY, BatchServer
from valbench_dagster_tests.llm_fakes import FakeClock
from valbench_dagster_tests.served_apps import serving


@dataclass
class Site:
    """A provider that is served, and a ledger on disk."""

    server: BatchServer
    settings: EndpointSettings
    ledger_url: str

    @property
    def provider(self) -> BatchProvider:
        return self.server.provider

    def run(self, questions: list[Question], run: str = "run-1", **kwargs: Any) -> Tally:
        """Ask in a run of its own, to its end."""

        async def asking() -> Tally:
            with SqlLedger(self.ledger_url) as ledger:
                async with OpenAIBatchTransport(self.settings) as transport:
                    given = {"step": STEP, "clock": FakeClock(), "rng": Random(run), **kwargs}
                    return await ask_by_batches(questions, ledger, transport, run, lambda _: None, **given)

        return asyncio.run(asking())

    def outcomes(self, questions: list[Question]) -> list[str]:
        with SqlLedger(self.ledger_url) as ledger:
            return [answer.outcome for answer in answers(questions, ledger)]

    def open_batches(self) -> int:
        with SqlLedger(self.ledger_url) as ledger:
            return len({event.batch for event in ledger.batch_events("lab")})


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    server = BatchServer(BatchProvider(now=lambda: FakeClock().now().timestamp()))
    with serving(server.app) as base_url:
        settings = EndpointSettings("lab", base_url, api_key=KEY, timeout_s=20.0)
        yield Site(server, settings, f"sqlite:///{tmp_path / 'ledger.sqlite'}")


def test_two_thousand_requests_over_four_files_come_back_once_each(site: Site) -> None:
    questions = asked(2000)
    tally = site.run(questions, limits=BatchLimits(requests_a_file=500))
    assert [len(ids) for ids in site.provider.custom_ids()] == [500] * 4
    assert (tally.asked, tally.failed) == (2000, 0)
    assert site.outcomes(questions) == ["reply"] * 2000
    assert not billed_twice(site.provider)
    assert (site.open_batches(), site.provider.files) == (0, {})


def test_an_expired_batch_is_collected_line_by_line_and_the_rest_asked_again(site: Site) -> None:
    site.provider.fate = lambda number: Fate("expired", answered=30) if number == 0 else Fate()
    questions = asked(50)
    site.run(questions)
    assert [len(ids) for ids in site.provider.custom_ids()] == [50, 20]
    assert site.outcomes(questions) == ["reply"] * 50
    assert not billed_twice(site.provider)


def test_a_batch_made_by_a_request_that_was_answered_with_an_error_is_found_in_the_list(site: Site) -> None:
    site.provider.goes_wrong("create", Fault(500, done=True))
    questions = asked(5)
    site.run(questions)
    assert site.provider.asked["create"] == 1
    assert site.provider.asked["list"] == 1
    assert site.outcomes(questions) == ["reply"] * 5


def test_passing_faults_and_broken_answers_of_every_request_are_waited_out(site: Site) -> None:
    for kind in ("upload", "create", "retrieve", "content", "delete", "list"):
        site.provider.goes_wrong(kind, Fault(503), Fault(429), Fault(500))
    for kind in ("upload", "create", "retrieve", "list"):
        site.server.garbled[kind] = deque([b"<html>busy</html>", b'{"id": ""}', b"[1]", b'{"data": 1}'])
    questions = asked(5)
    site.run(questions)
    assert site.outcomes(questions) == ["reply"] * 5
    assert len(site.provider.jobs) == 1
    assert not billed_twice(site.provider)


def test_a_wrong_key_is_one_sentence_without_the_key(site: Site) -> None:
    wrong = "sk-wrong-fedcba9876543210"
    site.settings = replace(site.settings, api_key=wrong)
    with pytest.raises(EndpointRefused, match=r"endpoint lab did not store a file.*check the key") as caught:
        site.run(asked(2))
    assert wrong not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    assert site.outcomes(asked(2)) == ["failed", "failed"]


def test_a_server_without_a_batch_api_is_told_from_one_with(site: Site) -> None:
    site.settings = replace(site.settings, base_url=site.settings.base_url.replace("/v1", "/nothing"))
    with pytest.raises(EndpointRefused, match="a server without a Batch API needs batch = false"):
        site.run(asked(2))


def test_a_server_that_is_not_there_ends_the_run_after_some_minutes(site: Site) -> None:
    site.settings = replace(site.settings, base_url="http://127.0.0.1:9/v1")
    clock = FakeClock()
    with pytest.raises(EndpointRefused, match=r"did not store a file of requests for \d minutes"):
        site.run(asked(2), clock=clock)
    assert 60 < clock.time < 900


def test_the_api_version_goes_with_every_request(site: Site) -> None:
    site.settings = replace(site.settings, query={"api-version": "2026-01-01"})
    site.run(asked(2))
    assert site.server.queries
    assert all("api-version=2026-01-01" in query for query in site.server.queries)


def test_a_ledger_with_an_open_batch_is_gone_on_with_by_another_process(site: Site) -> None:
    questions = asked(20)

    class Killed(BaseException):
        """The process ends here."""

    class Dying(OpenAIBatchTransport):
        async def retrieve(self, batch_id: str) -> Any:
            raise Killed

    async def dies() -> None:
        with SqlLedger(site.ledger_url) as ledger:
            async with Dying(site.settings) as transport:
                await ask_by_batches(questions, ledger, transport, "run-1", lambda _: None, step=STEP)

    with pytest.raises(Killed):
        asyncio.run(dies())
    assert site.open_batches() == 1
    site.run(questions, run="run-2")
    assert len(site.provider.jobs) == 1
    assert site.outcomes(questions) == ["reply"] * 20


# --- the adapter alone -----------------------------------------------------------------------------------------------


def ask_transport(site: Site, work: Any) -> Any:
    async def asking() -> Any:
        async with OpenAIBatchTransport(site.settings) as transport:
            return await work(transport)

    return asyncio.run(asking())


LINE = b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": []}}\n'


def test_a_file_arrives_as_it_was_written_from_its_beginning(site: Site) -> None:
    content = BytesIO(LINE * 3)
    content.seek(50)
    file_id = ask_transport(site, lambda transport: transport.upload("valbench-k.jsonl", content))
    assert site.provider.files[file_id] == LINE * 3


def test_a_download_takes_the_place_of_what_was_there(site: Site) -> None:
    site.provider.files["file-x"] = b"short\r\nand\nblank \n"
    into = BytesIO(b"what an earlier try had written before it broke")
    into.seek(10)
    ask_transport(site, lambda transport: transport.download("file-x", into))
    assert into.getvalue() == b"short\r\nand\nblank \n"


def test_metadata_state_counts_and_errors_are_read(site: Site) -> None:
    errors = ({"code": "invalid_json_line", "line": 1, "message": "no JSON", "param": None},)
    site.provider.fate = lambda _: Fate("failed", looks=1, errors=errors)

    async def work(transport: OpenAIBatchTransport) -> Any:
        file_id = await transport.upload("valbench-k.jsonl", BytesIO(LINE))
        made = await transport.create(file_id, "/v1/chat/completions", {OUR_KEY: "k"})
        return made, await transport.retrieve(made.id)

    made, found = ask_transport(site, work)
    assert (made.status, made.our_key, made.ended, made.done) == ("validating", "k", False, 0)
    assert (found.status, found.ended) == ("failed", True)
    assert found.errors == (LineError(1, "invalid_json_line", "no JSON"),)


def test_the_list_is_read_to_its_end_page_by_page(site: Site) -> None:
    site.provider.files["file-x"] = LINE
    for number in range(205):
        site.provider.create(
            {
                **{"input_file_id": "file-x", "endpoint": "/v1/chat/completions", "completion_window": "24h"},
                "metadata": {OUR_KEY: f"k{number}"} if number % 2 else None,
            }
        )

    async def work(transport: OpenAIBatchTransport) -> list[str]:
        found, after = [], None
        while True:
            page = await transport.batches(after)
            found += [batch.id for batch in page.batches]
            after = page.after
            if after is None:
                return found

    assert ask_transport(site, work) == [f"batch_{number:03}" for number in range(205, 0, -1)]
    assert site.provider.asked["list"] == 3


def test_an_empty_id_of_a_file_means_that_there_is_none(site: Site) -> None:
    site.server.garbled["retrieve"] = deque(
        [b'{"id": "batch_1", "status": "completed", "output_file_id": "", "error_file_id": "f", "later": {"x": 1}}']
    )
    site.provider.files["file-x"] = LINE
    made = site.provider.create(
        {"input_file_id": "file-x", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    )
    found = ask_transport(site, lambda transport: transport.retrieve(made["id"]))
    assert (found.output_file, found.error_file, found.done, found.our_key) == (None, "f", 0, None)


def test_a_status_that_nobody_knows_means_that_it_is_at_work(site: Site) -> None:
    site.server.garbled["retrieve"] = deque([b'{"id": "batch_1", "status": "pondering"}'])
    site.provider.files["file-x"] = LINE
    site.provider.create({"input_file_id": "file-x", "endpoint": "/v1/chat/completions", "completion_window": "24h"})
    assert not ask_transport(site, lambda transport: transport.retrieve("batch_001")).ended


def test_a_batch_can_be_cancelled(site: Site) -> None:
    site.provider.files["file-x"] = LINE
    site.provider.create({"input_file_id": "file-x", "endpoint": "/v1/chat/completions", "completion_window": "24h"})
    assert ask_transport(site, lambda transport: transport.cancel("batch_001")).status == "cancelling"


@pytest.mark.parametrize("kind", ["retrieve", "content", "delete", "cancel"])
def test_what_the_provider_does_not_know_is_a_fault_with_its_status(site: Site, kind: str) -> None:
    async def work(transport: OpenAIBatchTransport) -> None:
        if kind == "retrieve":
            await transport.retrieve("a/../b?c#d")
        elif kind == "content":
            await transport.download("none", BytesIO())
        elif kind == "delete":
            await transport.delete("none")
        else:
            await transport.cancel("none")

    with pytest.raises(TransportFault) as caught:
        ask_transport(site, work)
    assert caught.value.status == 404


def test_a_message_of_the_provider_that_holds_the_key_is_shown_without_it(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    errors = ({"code": "odd", "line": None, "message": f"the key {KEY} may not", "param": None},)
    site.provider.fate = lambda _: Fate("failed", looks=1, errors=errors)
    with caplog.at_level(logging.INFO), pytest.raises(EndpointRefused, match=r"\[secret\] may not") as caught:
        site.run(asked(1))
    assert KEY not in str(caught.value) + caplog.text
