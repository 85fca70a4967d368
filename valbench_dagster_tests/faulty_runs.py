"""Runs of the engine as it is, over HTTP and into a SQLite ledger, against a server that answers badly on purpose.

Here belong the run, its limits (small: tests wait for them) and what must hold after any run.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.adapters.openai.transport import OpenAITransport
from valbench_dagster.llm.calls import Question
from valbench_dagster.llm.dispatcher import Tally, ask_missing
from valbench_dagster.llm.endpoint import EndpointSettings
from valbench_dagster.llm.retry import RetryRules
from valbench_dagster.llm.settle import NEVER_ASKED, answers
from valbench_dagster_tests.fault_server import FaultServer
from valbench_dagster_tests.llm_fakes import question

RULES = RetryRules(first_delay_s=0.005, longest_delay_s=0.05, first_probe_s=0.02, longest_probe_s=0.1, ease_s=0.02)


def questions(count: int) -> list[Question]:
    """Give so many questions, each of its own."""
    return [question(f"prompt {number}") for number in range(count)]


def ask(
    server: FaultServer, ledger: SqlLedger, asked: Sequence[Question], rules: RetryRules = RULES, **settings: Any
) -> Tally:
    """Ask the server, which serves, all that the ledger lacks."""

    async def run() -> Tally:
        given = {"concurrency": 16, "timeout_s": 10.0, "first_byte_timeout_s": 0.5, **settings}
        async with OpenAITransport(EndpointSettings("lab", server.base_url, "sk-0123456789", **given)) as transport:
            return await ask_missing(asked, ledger, {"lab": transport}, rules, "run", lambda _: None, rng=Random(1))

    return asyncio.run(run())


def open_ledger(path: Path) -> SqlLedger:
    """Open the ledger of a test."""
    return SqlLedger(f"sqlite:///{path / 'ledger.sqlite'}")


def check(server: FaultServer, ledger: SqlLedger, asked: Sequence[Question]) -> Counter[str]:
    """Give the outcomes of all questions, once it is sure that none is lost or has another's reply.

    A reply names its prompt and its number. The stored one is the last that was served: those before never arrived.
    """
    outcomes: Counter[str] = Counter()
    for one, answer in zip(asked, answers(asked, ledger), strict=True):
        prompt = one.request.messages[-1].content[:100]
        outcomes[answer.outcome] += 1
        if answer.reply is not None:
            expected = f"reply {server.replies[prompt]} to {prompt}"
            assert answer.reply.text == expected, f"expected {expected!r}, found {answer.reply.text!r}"
        else:
            assert answer.detail not in (None, NEVER_ASKED), prompt
            assert server.replies[prompt] == 0, (prompt, answer.detail)
    return outcomes
