"""Summaries: what a ledger holds, added up: spending, costs by step, size, failures, open batches.

Each function takes an open connection and gives frozen records. Nothing here reads a request or a reply.
"""

from array import array
from dataclasses import dataclass, fields
from math import ceil

import orjson
from sqlalchemy import Connection, Engine, RowMapping, func, select

from valbench_dagster.adapters.ledger.connection import bytes_on_disk
from valbench_dagster.adapters.ledger.tables import batch_events, calls
from valbench_dagster.llm.budget import Spent
from valbench_dagster.llm.ledger import BatchEvent, StepCost

MESSAGE_CHARACTERS = 400
"""The beginning of a failure's message that is shown."""


@dataclass(frozen=True, slots=True)
class FailureClass:
    """The failures of one endpoint and model that have a kind and a beginning in common, such as `HTTP 400`."""

    endpoint: str
    model: str
    kind: str
    label: str
    calls: int
    newest_at: str
    newest_message: str


@dataclass(frozen=True, slots=True)
class EndpointUse:
    """The calls of one model at one endpoint.

    `median_s` and `p95_s` are latencies of replies that were not part of a batch; null where there are none.
    """

    endpoint: str
    model: str
    calls: int
    replies: int
    rejected: int
    failed: int
    cost: float
    median_s: float | None
    p95_s: float | None


@dataclass(frozen=True, slots=True)
class LedgerSize:
    """What a ledger holds. Times are of the first and last call by when it was started, null without calls."""

    calls: int
    replies: int
    bytes: int
    first_at: str | None
    last_at: str | None
    endpoints: tuple[EndpointUse, ...]
    failures: tuple[FailureClass, ...]


def count(connection: Connection, run: str | None) -> int:
    """Count the calls of a run, or all."""
    query = select(func.count()).select_from(calls)
    return connection.execute(query if run is None else query.where(calls.c.run == run)).scalar_one()


def spent(connection: Connection, run: str) -> Spent:
    """Add up what the calls of a run cost, with a reply or without."""
    sums = [func.sum(calls.c[name]) for name in ("cost", "input_tokens", "output_tokens")]
    query = select(*sums, func.count()).select_from(calls).where(calls.c.run == run)
    found = connection.execute(query).one()
    return Spent(float(found[0] or 0.0), int(found[1] or 0), int(found[2] or 0), found[3])


def costs(connection: Connection) -> list[StepCost]:
    """Give what all calls came to by step, endpoint, provider and model, in that order; null step first."""
    keys = [calls.c[name] for name in ("step", "endpoint", "provider", "model")]
    kinds = [func.count().filter(calls.c.kind == kind) for kind in ("reply", "rejected", "failed")]
    names = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
    sums = [func.coalesce(func.sum(calls.c[name]), 0) for name in names]
    query = select(*keys, *kinds, *sums, func.coalesce(func.sum(calls.c.cost), 0.0)).group_by(*keys)
    names_of_all = ("step", "endpoint", "provider", "model", "replies", "rejected", "failed", *names, "cost")
    found = []
    for row in connection.execute(query):
        named = dict(zip(names_of_all, row, strict=True))
        # PostgreSQL adds up whole numbers to decimals.
        found.append(StepCost(**{**named, **{name: int(named[name]) for name in names}}))
    return sorted(found, key=lambda each: (each.step or "", each.endpoint, each.provider, each.model))


def size(connection: Connection, engine: Engine) -> LedgerSize:
    """Say what the ledger holds, endpoint by endpoint and model by model."""
    columns = (calls.c.endpoint, calls.c.model)
    kinds = [func.count().filter(calls.c.kind == kind) for kind in ("reply", "rejected", "failed")]
    times = (func.min(calls.c.started_at), func.max(calls.c.started_at))
    latencies = _latencies(connection)
    uses, first, last = [], [], []
    for endpoint, model, all_calls, replies, rejected, failed, cost, began, ended in connection.execute(
        select(*columns, func.count(), *kinds, func.sum(calls.c.cost), *times).group_by(*columns).order_by(*columns)
    ):
        median, p95 = (_percentile(latencies.get((endpoint, model)), share) for share in (0.5, 0.95))
        uses.append(EndpointUse(endpoint, model, all_calls, replies, rejected, failed, float(cost or 0.0), median, p95))
        first.append(began)
        last.append(ended)
    return LedgerSize(
        calls=sum(use.calls for use in uses),
        replies=sum(use.replies for use in uses),
        bytes=bytes_on_disk(engine),
        first_at=min(first, default=None),
        last_at=max(last, default=None),
        endpoints=tuple(uses),
        failures=_failures(connection),
    )


def open_batch_events(connection: Connection, provider: str | None) -> list[tuple[str, BatchEvent]]:
    """Give the events of a provider's (null: all providers') open batches, each behind its id, in order.

    A batch may be planned again once it was collected or abandoned: what came before that end is not given.
    """
    later = batch_events.alias()
    end = select(later.c.id).where(
        later.c.batch == batch_events.c.batch,
        later.c.provider == batch_events.c.provider,
        later.c.kind.in_(["collected", "abandoned"]),
        later.c.id >= batch_events.c.id,
    )
    query = select(batch_events).where(~end.exists()).order_by(batch_events.c.id)
    if provider is not None:
        query = query.where(batch_events.c.provider == provider)
    return [(row["event_id"], _event(row)) for row in connection.execute(query).mappings()]


def _event(row: RowMapping) -> BatchEvent:
    named = {field.name: row[field.name] for field in fields(BatchEvent)}
    return BatchEvent(**{**named, "fingerprints": tuple(orjson.loads(row["fingerprints"]))})


def _latencies(connection: Connection) -> dict[tuple[str, str], list[float]]:
    """Give the latencies of replies to single calls, in ascending order, by endpoint and model."""
    found: dict[tuple[str, str], array[float]] = {}
    query = select(calls.c.endpoint, calls.c.model, calls.c.latency).where(
        calls.c.kind == "reply", calls.c.batch.is_(None)
    )
    for endpoint, model, latency in connection.execution_options(yield_per=10_000).execute(query):
        found.setdefault((endpoint, model), array("d")).append(latency)
    return {key: sorted(values) for key, values in found.items()}


def _percentile(ascending: list[float] | None, share: float) -> float | None:
    """Give the smallest value that at least `share` of the values do not exceed."""
    return ascending[max(ceil(share * len(ascending)), 1) - 1] if ascending else None


def _failures(connection: Connection) -> tuple[FailureClass, ...]:
    """Class all failures by endpoint, model, kind and what stands before the first colon of the message."""
    newest: dict[tuple[str, str, str, str], tuple[int, str, str]] = {}
    message = func.substr(calls.c.message, 1, MESSAGE_CHARACTERS)
    query = select(calls.c.endpoint, calls.c.model, calls.c.kind, calls.c.started_at, message).where(
        calls.c.kind.in_(["rejected", "failed"])
    )
    for endpoint, model, kind, at, said in connection.execute(query.order_by(calls.c.id)):
        label, colon, _ = (said or "").partition(":")
        key = (endpoint, model, kind, label if colon and len(label) <= 40 else "other")
        newest[key] = (newest.get(key, (0, "", ""))[0] + 1, at, said or "no message")
    return tuple(FailureClass(*key, *found) for key, found in sorted(newest.items()))
