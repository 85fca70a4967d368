"""Samples: the newest replies of a model, by what tells how long its replies are and how long they take.

No body is read: of the request only its length, which a database knows without.
"""

from sqlalchemy import Connection, func, select

from valbench_dagster.adapters.ledger.tables import calls
from valbench_dagster.llm.estimate import CallSample


def samples(
    connection: Connection, provider: str, model: str, limit: int, fact: str | None, asker: str | None
) -> list[CallSample]:
    """Give the newest replies of a model whose tokens were counted, newest first; see `llm.estimate.CallSamples`."""
    # Found through the index over what calls cost, which holds every column that is asked here. The sum keeps SQLite
    # from walking the table back from its newest row instead: past the rows of all other models.
    wanted = select(calls.c.id).where(
        calls.c.provider == provider,
        calls.c.model == model,
        calls.c.kind == "reply",
        calls.c.input_tokens.is_not(None),
        calls.c.output_tokens.is_not(None),
    )
    if fact is not None:
        wanted = wanted.where(calls.c.step.startswith(f"{fact}/", autoescape=True))
    if asker is not None:
        wanted = wanted.where(calls.c.step.endswith(f"/{asker}", autoescape=True))
    newest = wanted.order_by((calls.c.id + 0).desc()).limit(limit).subquery()
    found = connection.execute(
        select(
            func.length(calls.c.request),
            calls.c.input_tokens,
            calls.c.output_tokens,
            func.coalesce(calls.c.reasoning_tokens, 0),
            calls.c.latency,
            calls.c.schema_mode.is_not(None),
            calls.c.batch.is_not(None),
        )
        .join(newest, calls.c.id == newest.c.id)
        .order_by(calls.c.id.desc())
    )
    return [
        CallSample(size, read, written, reasoning, latency, structured=bool(structured), batch=bool(batch))
        for size, read, written, reasoning, latency, structured, batch in found
    ]
