"""The tables of a ledger, and the indexes that its look-ups live by.

Here belongs what is stored and by what it is found. How the tables come about in a database that lacks them, or has
them in an older layout, is `layout.py`.

`calls` has one row per finished call. `call_id` is given before the first try to store it: a commit whose answer was
lost can be tried again, and a file imported twice, without a second row. Small columns stand before the bodies, since
SQLite reads a row from its beginning. `batch_events` is the log of batches. `ledger_layout` holds the layout's number.
"""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

LAYOUT = 2
"""Raised with every change of the tables that an older program could not live with. 1 had no `ledger_layout`."""

_metadata = MetaData()
_ID = BigInteger().with_variant(Integer(), "sqlite")

calls = Table(
    "calls",
    _metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("call_id", Text, nullable=False),
    Column("fingerprint", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("status", Integer),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("started_at", String(40), nullable=False),
    Column("latency", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("run", Text, nullable=False),
    Column("schema_mode", String(16)),
    Column("served_model", Text),
    Column("cached_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("cost", Float),
    Column("batch", Text),
    Column("step", Text),
    Column("message", Text),
    Column("request", LargeBinary, nullable=False),
    Column("reply", LargeBinary),
    sqlite_autoincrement=True,
)
FIRST_LAYOUT = (
    *("id", "fingerprint", "kind", "endpoint", "provider", "model", "request", "reply", "status", "message"),
    *("input_tokens", "output_tokens", "started_at", "latency", "attempts", "run"),
)
"""The columns of `calls` in layout 1: a table without one of them is no ledger's."""

batch_events = Table(
    "batch_events",
    _metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=False),
    Column("batch", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("at", String(40), nullable=False),
    Column("run", Text, nullable=False),
    Column("remote_id", Text),
    Column("fingerprints", Text, nullable=False),  # a JSON list
    Column("detail", Text),
    sqlite_autoincrement=True,
)

ledger_layout = Table("ledger_layout", _metadata, Column("number", Integer, primary_key=True, autoincrement=False))

TABLES = (calls, batch_events, ledger_layout)
INDEXES = (
    # `known` and the choice of the row to serve read this index alone.
    Index("calls_by_fingerprint", calls.c.fingerprint, calls.c.kind, calls.c.id),
    Index("calls_by_call_id", calls.c.call_id, unique=True),
    # What a run or all of them spent is read from this index alone: no body is touched. Rows of a step follow one
    # another, so a new one falls on a page that is in memory.
    Index(
        "calls_by_run",
        *(calls.c.run, calls.c.step, calls.c.endpoint, calls.c.provider, calls.c.model, calls.c.kind),
        *(calls.c.input_tokens, calls.c.cached_tokens, calls.c.output_tokens, calls.c.reasoning_tokens, calls.c.cost),
    ),
    Index("batch_events_by_event_id", batch_events.c.event_id, unique=True),
    Index("batch_events_by_provider", batch_events.c.provider, batch_events.c.batch),
)
OWN_IDS = {calls.name: calls.c.call_id, batch_events.name: batch_events.c.event_id}
"""The column that makes storing a row of a table twice leave one."""
