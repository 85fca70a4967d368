"""Asking: the one way a step gets answers from models.

First every question without a stored reply is asked (bounded, retried, into the ledger), then all answers are read
from the ledger in the order of the questions. So what a step publishes depends on the ledger alone, not on the order
in which servers replied, and a step that was killed goes on where it stopped.

Here belongs what one process does. Several processes for one step are `asking_processes.py`.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import tee
from typing import TypeVar

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.adapters.openai.batch import OpenAIBatchTransport
from valbench_dagster.adapters.openai.transport import OpenAITransport
from valbench_dagster.llm.batches.flow import ask_by_batches
from valbench_dagster.llm.batches.port import BatchLimits
from valbench_dagster.llm.budget import Budget, Caps, Spent
from valbench_dagster.llm.calls import Answer, Question
from valbench_dagster.llm.dispatcher import ask_missing
from valbench_dagster.llm.endpoint import STAND_INS, EndpointSettings
from valbench_dagster.llm.ledger import Ledger
from valbench_dagster.llm.retry import RetryRules
from valbench_dagster.llm.settle import answers
from valbench_dagster.llm.tally import Tally
from valbench_dagster.roster import Endpoint, RosterError
from valbench_dagster.stand_ins.server import make_app
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.step_report import Watch

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asking:
    """How a step's questions are asked, whatever they are.

    All go to the roster's `endpoint`. `run` and `step` (fact table and partition) are stored with each call. `caps`
    bound what the whole run spends, of which `spent` is gone already; `watch` is told where the step is.
    """

    endpoint: str
    run: str
    step: str
    caps: Caps
    spent: Spent
    watch: Watch
    expected: int | None = None
    """Number of questions, where it is known beforehand."""


@dataclass(frozen=True, slots=True)
class Part:
    """The part of the questions that one of several processes asks, and of the limits that it has for it."""

    number: int = 0
    of: int = 1

    def holds(self, fingerprint: str) -> bool:
        """Tell whether a request of this fingerprint is this part's: of equal requests all or none are."""
        return self.of == 1 or int(fingerprint[:8], 16) % self.of == self.number

    def share(self, total: int) -> int:
        """Give this part's share of a whole number; of all parts together it is the number, but at least one each."""
        return max(1, total // self.of + (self.number < total % self.of))


@contextmanager
def open_ledger(project: Project) -> Iterator[SqlLedger]:
    """Open the ledger of the project, creating it where there is none."""
    project.settings.home.mkdir(parents=True, exist_ok=True)
    ledger = SqlLedger(project.settings.ledger_url)
    try:
        yield ledger
    finally:
        ledger.close()


async def ask_part(
    project: Project, ledger: SqlLedger, questions: Iterable[Question], asking: Asking, part: Part
) -> Tally:
    """Ask every question that has no stored reply; return when each has a reply or a failure in the ledger.

    `questions` is read once, lazily, and holds what is this part's. Raises `EndpointRefused` where the endpoint makes
    going on pointless, `BudgetReached` at a cap, and `RosterError` where the key it names is not in the environment.
    """
    endpoint = project.roster.endpoint[asking.endpoint]
    settings = endpoint_settings(asking.endpoint, endpoint, part)
    budget = Budget(asking.caps, asking.spent)
    if endpoint.batch:
        limits = BatchLimits(requests_a_file=endpoint.batch_requests)
        async with OpenAIBatchTransport(settings) as batches:
            return await ask_by_batches(
                questions,
                ledger,
                batches,
                asking.run,
                asking.watch,
                step=asking.step,
                budget=budget,
                expected=asking.expected,
                poll_s=endpoint.batch_poll_s,
                limits=limits,
            )
    rules = RetryRules(attempts=endpoint.attempts, down_after_s=endpoint.down_after_s)
    app = make_app() if endpoint.base_url == STAND_INS else None
    async with OpenAITransport(settings, app=app) as transport:
        return await ask_missing(
            questions,
            ledger,
            {asking.endpoint: transport},
            rules,
            asking.run,
            asking.watch,
            step=asking.step,
            budget=budget,
            expected=asking.expected,
        )


def answered(
    items: Iterable[T], question: Callable[[T], Question | None], ledger: Ledger
) -> Iterator[tuple[T, Question | None, Answer | None]]:
    """Give each item with its question and its answer from the ledger, in order; null and null where none is asked."""

    # `answers` reads ahead by its chunk; tee holds what it has read for the slower reader.
    ahead, behind = tee((item, question(item)) for item in items)
    replies = answers((asked for _, asked in ahead if asked is not None), ledger)
    for item, asked in behind:
        yield item, asked, None if asked is None else next(replies)


def endpoint_settings(name: str, endpoint: Endpoint, part: Part) -> EndpointSettings:
    """Give an endpoint's settings as they are now: its key from the environment, its limits divided by parts.

    Raises `RosterError` where the variable that holds the key is not set.
    """
    key = None
    if endpoint.key_env is not None:
        key = os.environ.get(endpoint.key_env)
        if not key:
            raise RosterError(
                f"endpoint {name} takes its key from {endpoint.key_env}, which is not set: export it and rerun"
            )
    return EndpointSettings(
        name=name,
        base_url=endpoint.base_url,
        api_key=key,
        concurrency=part.share(endpoint.concurrency),
        requests_per_minute=part.share(endpoint.requests_per_minute) if endpoint.requests_per_minute else None,
        tokens_per_minute=part.share(endpoint.tokens_per_minute) if endpoint.tokens_per_minute else None,
        timeout_s=endpoint.timeout_s,
        connect_timeout_s=endpoint.connect_timeout_s,
        first_byte_timeout_s=endpoint.first_byte_timeout_s,
        headers=dict(endpoint.headers),
        query=dict(endpoint.query),
        ca_file=endpoint.ca_file,
        proxy=endpoint.proxy,
    )
