"""Asking: the one way a step gets answers from models.

First every question without a stored reply is asked (bounded, retried, into the ledger), then all answers are read
from the ledger in the order of the questions. So what a step publishes depends on the ledger alone, not on the order
in which servers replied, and a step that was killed goes on where it stopped.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import tee
from typing import TypeVar

from valbench_dagster.adapters.ledger_sql import SqlLedger
from valbench_dagster.adapters.openai_client import OpenAITransport
from valbench_dagster.llm.calls import Answer, Question
from valbench_dagster.llm.dispatcher import Tally, Transport, ask_missing
from valbench_dagster.llm.endpoint import STAND_INS, EndpointSettings
from valbench_dagster.llm.ledger import Ledger
from valbench_dagster.llm.retry import RetryRules
from valbench_dagster.llm.settle import answers
from valbench_dagster.roster import Roster, RosterError
from valbench_dagster.stand_ins.server import make_app
from valbench_dagster.steps.interrupts import run_interruptibly
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.step_report import Watch

T = TypeVar("T")


@contextmanager
def open_ledger(project: Project) -> Iterator[SqlLedger]:
    """Open the ledger of the project, creating it where there is none."""
    project.settings.home.mkdir(parents=True, exist_ok=True)
    ledger = SqlLedger(project.settings.ledger_url)
    try:
        yield ledger
    finally:
        ledger.close()


def ask(
    project: Project, ledger: Ledger, questions: Iterable[Question], endpoint: str, run: str, watch: Watch
) -> Tally:
    """Ask every question that has no stored reply; return when each has a reply or a failure in the ledger.

    `questions` is read once, lazily. All go to the roster's `endpoint`. Raises `EndpointRefused` where the endpoint
    makes going on pointless, and `RosterError` where the key it names is not in the environment.
    """

    async def run_all() -> Tally:
        async with _transport(project.roster, endpoint) as transport:
            return await ask_missing(questions, ledger, {endpoint: transport}, RetryRules(), run, watch)

    return run_interruptibly(run_all())


def answered(
    items: Iterable[T], question: Callable[[T], Question | None], ledger: Ledger
) -> Iterator[tuple[T, Question | None, Answer | None]]:
    """Give each item with its question and its answer from the ledger, in order; null and null where none is asked."""

    # `answers` reads ahead by its chunk; tee holds what it has read for the slower reader.
    ahead, behind = tee((item, question(item)) for item in items)
    replies = answers((asked for _, asked in ahead if asked is not None), ledger)
    for item, asked in behind:
        yield item, asked, None if asked is None else next(replies)


@asynccontextmanager
async def _transport(roster: Roster, name: str) -> AsyncIterator[Transport]:
    endpoint = roster.endpoint[name]
    key = None
    if endpoint.key_env is not None:
        key = os.environ.get(endpoint.key_env)
        if not key:
            raise RosterError(
                f"endpoint {name} takes its key from {endpoint.key_env}, which is not set: export it and rerun"
            )
    settings = EndpointSettings(
        name=name,
        base_url=endpoint.base_url,
        api_key=key,
        concurrency=endpoint.concurrency,
        timeout_s=endpoint.timeout_s,
        headers=dict(endpoint.headers),
        ca_file=endpoint.ca_file,
        proxy=endpoint.proxy,
    )
    async with AsyncExitStack() as stack:
        app = make_app() if endpoint.base_url == STAND_INS else None
        yield await stack.enter_async_context(OpenAITransport(settings, app=app))
