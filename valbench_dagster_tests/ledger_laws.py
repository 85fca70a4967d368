"""What every ledger does, whichever database holds it: each law takes the URL of an empty one.

`test_ledger_sql` holds SQLite to them, `test_ledger_postgres_slow` PostgreSQL.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.adapters.ledger.summaries import EndpointUse, FailureClass
from valbench_dagster.llm.budget import Spent
from valbench_dagster.llm.ledger import BatchEvent, FinishedCall, StepCost, StoredFailure
from valbench_dagster_tests.llm_fakes import request, stored

UNCOUNTED: dict[str, Any] = {"input_tokens": None, "output_tokens": None, "cost": None}


def append(ledger: SqlLedger, *calls: FinishedCall) -> None:
    """Append calls all at once; return when each is acknowledged."""

    async def all_of_them() -> None:
        await asyncio.gather(*(ledger.append(call) for call in calls))

    asyncio.run(all_of_them())


def record(ledger: SqlLedger, *events: BatchEvent) -> None:
    """Record events one after the other."""

    async def in_turn() -> None:
        for event in events:
            await ledger.record(event)

    asyncio.run(in_turn())


def batch_event(batch: str, kind: str, provider: str = "lab", **fields: object) -> BatchEvent:
    """Give an event of a batch with what matters to a test."""
    event = BatchEvent(batch, "planned", "fake", provider, "2026-11-21T12:00:00.000+00:00", "run-1")
    return replace(event, kind=kind, **fields)  # type: ignore[arg-type]  # a test's own words


def of_two_replies_the_lowest_id_is_served_for_ever(url: str) -> None:
    with SqlLedger(url) as ledger:
        append(ledger, stored(request("a"), None, "HTTP 500: early"))
        append(ledger, stored(request("a"), b"first"))
        append(ledger, stored(request("a"), b"second"))
        append(ledger, stored(request("a"), None, "HTTP 500: later"))
        assert ledger.replies([request("a").fingerprint]) == {request("a").fingerprint: b"first"}
        assert ledger.known([request("a").fingerprint]) == {request("a").fingerprint}
        assert ledger.count() == 4


def failures_are_never_served_as_replies_and_the_newest_is_given(url: str) -> None:
    asked = request("a")
    with SqlLedger(url) as ledger:
        append(ledger, stored(asked, None, "HTTP 400: long", kind="rejected"))
        append(ledger, stored(asked, None, "HTTP 500: away"))
        assert ledger.replies([asked.fingerprint]) == {}
        assert ledger.known([asked.fingerprint]) == set()
        assert ledger.failures([asked.fingerprint]) == {asked.fingerprint: StoredFailure("failed", "HTTP 500: away")}
        assert ledger.failures([request("b").fingerprint]) == {}


def look_ups_of_any_size_find_what_is_there(url: str) -> None:
    asked = [request(f"q{number}") for number in range(2500)]
    all_of_them = [one.fingerprint for one in asked]
    with SqlLedger(url) as ledger:
        append(ledger, *(stored(one, one.fingerprint.encode()) for one in asked[::2]))
        append(ledger, *(stored(one, None, "HTTP 500: away") for one in asked[1::2]))
        replied = {one.fingerprint: one.fingerprint.encode() for one in asked[::2]}
        # 25,000 names with repetitions: more than one statement takes.
        assert ledger.replies(all_of_them * 10) == replied
        assert ledger.known(all_of_them * 10) == set(replied)
        assert ledger.failures(all_of_them).keys() == set(all_of_them) - set(replied)
        assert (ledger.replies([]), ledger.known([]), ledger.failures([])) == ({}, set(), {})


def calls_are_counted_in_all_and_by_run(url: str) -> None:
    with SqlLedger(url) as ledger:
        append(ledger, *(stored(request(f"q{number}"), b"x", run=f"run-{number % 3}") for number in range(10)))
        assert (ledger.count(), ledger.count("run-0"), ledger.count("none")) == (10, 4, 0)


def what_a_server_says_is_stored_readable_if_no_database_takes_it_as_text(url: str) -> None:
    with SqlLedger(url) as ledger:
        append(
            ledger,
            stored(request("a"), None, "null \0 and half a pair \ud83d"),
            stored(request("b"), b"{}", served_model="mo\0del \udc80"),
            stored(request("c"), None, "two\nlines, größer ✓"),
        )
        found = ledger.failures([request("a").fingerprint, request("c").fingerprint])
        assert found[request("a").fingerprint].message == "null \\0 and half a pair \\ud83d"
        assert found[request("c").fingerprint].message == "two\nlines, größer ✓"
        assert ledger.replies([request("b").fingerprint])


def tokens_and_amounts_beyond_32_bits_are_stored(url: str) -> None:
    with SqlLedger(url) as ledger:
        append(ledger, *(stored(request(f"q{n}"), b"x", input_tokens=2**40, cost=1e12) for n in range(3)))
        assert ledger.spent("run-1") == Spent(3e12, 3 * 2**40, 15, 3)


def calls_from_several_event_loops_are_all_acknowledged(url: str) -> None:
    with SqlLedger(url) as ledger, ThreadPoolExecutor(4) as pool:
        several = [[stored(request(f"q{number}-{one}"), b"x") for number in range(50)] for one in range(4)]
        for appending in [pool.submit(append, ledger, *calls) for calls in several]:
            appending.result()
        assert ledger.count() == 200


def a_ledger_that_many_open_at_the_same_moment_is_set_up_once(url: str) -> None:
    together = threading.Barrier(8)

    def open_it() -> int:
        together.wait()
        with SqlLedger(url) as ledger:
            return ledger.count()

    with ThreadPoolExecutor(8) as pool:
        assert [opening.result() for opening in [pool.submit(open_it) for _ in range(8)]] == [0] * 8


def what_a_run_spent_is_what_its_calls_say(url: str) -> None:
    with SqlLedger(url) as ledger:
        append(
            ledger,
            stored(request("a"), b"x", cost=0.25, input_tokens=100, output_tokens=30),
            stored(request("b"), b"x", cost=0.5, input_tokens=None, output_tokens=7),
            stored(
                request("c"), None, "HTTP 400: no", kind="rejected", cost=None, input_tokens=None, output_tokens=None
            ),
            stored(request("d"), b"x", cost=9.0, run="another"),
        )
        # By hand: 0.25 + 0.5; 100; 30 + 7; three calls, the rejected one among them.
        assert ledger.spent("run-1") == Spent(0.75, 100, 37, 3)
        assert ledger.spent("nobody's") == Spent()


def costs_are_added_up_by_step_endpoint_provider_and_model(url: str) -> None:
    step = "responses/enwiki-20261101/llama"
    with SqlLedger(url) as ledger:
        append(
            ledger,
            stored(request("a"), b"x", step=step, cost=0.25, cached_tokens=4, reasoning_tokens=3),
            stored(request("b"), b"x", step=step, cost=0.5, run="another", reasoning_tokens=1),
            stored(
                request("c"), None, "HTTP 400: no", kind="rejected", step=step, input_tokens=None, output_tokens=None
            ),
            stored(request("d"), None, "timeout: slow", step=step, **UNCOUNTED),
            stored(request("e"), b"x", step=step, endpoint="other", cost=1.0),
            stored(request("f"), b"x", model="m2", **UNCOUNTED),
        )
        served = request("a").served
        # By hand: a reply of `stored` has 10 tokens in and 5 out.
        assert ledger.costs() == [
            StepCost(None, served.endpoint, served.provider, "m2", 1, 0, 0, 0, 0, 0, 0, 0.0),
            StepCost(step, served.endpoint, served.provider, served.model, 2, 1, 1, 20, 4, 10, 4, 0.75),
            StepCost(step, "other", served.provider, served.model, 1, 0, 0, 10, 0, 5, 0, 1.0),
        ]


def the_size_tells_calls_times_latencies_and_failures(url: str) -> None:
    served = request("a").served
    with SqlLedger(url) as ledger:
        empty = ledger.size()
        assert (empty.calls, empty.first_at, empty.endpoints, empty.failures) == (0, None, (), ())
        # 1 s to 20 s: the 10th of 20 is the median, the 19th the 95th percentile; a batch's hours are not among them.
        append(ledger, *(stored(request(f"q{n}"), b"x", latency=float(n), cost=0.5) for n in range(1, 21)))
        append(
            ledger,
            stored(request("b"), b"x", latency=9000.0, batch="batch_1", started_at="2026-11-20T00:00:00.000+00:00"),
            stored(request("c"), None, "HTTP 400: first", kind="rejected"),
        )
        append(ledger, stored(request("d"), None, "HTTP 400: second", kind="rejected"))
        append(ledger, stored(request("e"), None, "no colon", started_at="2026-11-22T00:00:00.000+00:00"))
        found = ledger.size()
        assert (found.calls, found.replies) == (24, 21)
        assert (found.first_at, found.last_at) == ("2026-11-20T00:00:00.000+00:00", "2026-11-22T00:00:00.000+00:00")
        assert found.bytes > 10_000
        assert found.endpoints == (EndpointUse(served.endpoint, served.model, 24, 21, 2, 1, 10.0, 10.0, 19.0),)
        at, last = stored(request("d"), None).started_at, "2026-11-22T00:00:00.000+00:00"
        where = (served.endpoint, served.model)
        assert found.failures == (
            FailureClass(*where, "failed", "other", 1, last, "no colon"),
            FailureClass(*where, "rejected", "HTTP 400", 2, at, "HTTP 400: second"),
        )


def the_log_of_batches_gives_open_ones_in_order(url: str) -> None:
    planned = batch_event("b1", "planned", fingerprints=("f1", "f2"), detail="a step")
    with SqlLedger(url) as ledger:
        record(
            ledger,
            planned,
            batch_event("b2", "planned", fingerprints=("f3",)),
            batch_event("b1", "uploaded", remote_id="file-1"),
            batch_event("b2", "abandoned", detail="failed at validation"),
            batch_event("b1", "created", remote_id="batch-1"),
            batch_event("b1", "planned", provider="another", fingerprints=("f9",)),
        )
        opened = ledger.batch_events("lab")
        assert opened[0] == planned
        assert [(event.batch, event.kind, event.remote_id) for event in opened] == [
            ("b1", "planned", None),
            ("b1", "uploaded", "file-1"),
            ("b1", "created", "batch-1"),
        ]
        assert [event.fingerprints for event in ledger.batch_events("another")] == [("f9",)]
        assert len(ledger.batch_events()) == 4
    with SqlLedger(url) as again:
        record(again, batch_event("b1", "collected"))
        assert again.batch_events("lab") == []
        # The same requests may be planned once more, and have the same key then.
        record(again, batch_event("b1", "planned", fingerprints=("f2",)))
        assert [event.fingerprints for event in again.batch_events("lab")] == [("f2",)]


def calls_and_events_of_one_moment_share_a_commit(url: str) -> None:
    async def both(ledger: SqlLedger) -> None:
        calls = (ledger.append(stored(request(f"q{number}"), b"x")) for number in range(100))
        await asyncio.gather(*calls, *(ledger.record(batch_event(f"b{n}", "planned")) for n in range(100)))

    with SqlLedger(url) as ledger:
        asyncio.run(both(ledger))
        assert ledger.count() == 100
        assert [event.batch for event in ledger.batch_events("lab")] == [f"b{number}" for number in range(100)]


LAWS: list[Callable[[str], None]] = [
    of_two_replies_the_lowest_id_is_served_for_ever,
    failures_are_never_served_as_replies_and_the_newest_is_given,
    look_ups_of_any_size_find_what_is_there,
    calls_are_counted_in_all_and_by_run,
    what_a_server_says_is_stored_readable_if_no_database_takes_it_as_text,
    tokens_and_amounts_beyond_32_bits_are_stored,
    calls_from_several_event_loops_are_all_acknowledged,
    a_ledger_that_many_open_at_the_same_moment_is_set_up_once,
    what_a_run_spent_is_what_its_calls_say,
    costs_are_added_up_by_step_endpoint_provider_and_model,
    the_size_tells_calls_times_latencies_and_failures,
    the_log_of_batches_gives_open_ones_in_order,
    calls_and_events_of_one_moment_share_a_commit,
]
