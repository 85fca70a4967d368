"""Costs in the warehouse: what the ledger says was paid for which facts, and what that changes."""

import asyncio
import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.adapters.facts import frame_of
from valbench_dagster.adapters.warehouse.build import read
from valbench_dagster.adapters.warehouse.connection import connect, rows
from valbench_dagster.llm.ledger import FinishedCall, StepCost
from valbench_dagster.records import CallCost
from valbench_dagster.steps.asking import open_ledger
from valbench_dagster.steps.costs import cost_rows
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.warehouse import build_warehouse

COST = StepCost("responses/enwiki-20261101/llama", "lab", "lab", "org/llama", 10, 1, 2, 100, 40, 50, 20, 0.25)


def test_a_step_s_name_comes_apart_into_fact_and_partition() -> None:
    assert cost_rows([COST]) == [
        CallCost(
            fact="responses",
            partition_key="enwiki-20261101/llama",
            endpoint="lab",
            provider="lab",
            served_as="org/llama",
            replies=10,
            rejected=1,
            failed=2,
            input_tokens=100,
            cached_tokens=40,
            output_tokens=50,
            reasoning_tokens=20,
            cost=0.25,
        )
    ]
    steps = ["issues/enwiki-20261101", "verdicts/enwiki-20261101/llama/gemma-v3"]
    told = [(row.fact, row.partition_key) for row in cost_rows([replace(COST, step=step) for step in steps])]
    assert told == [("issues", "enwiki-20261101"), ("verdicts", "enwiki-20261101/llama/gemma-v3")]


def test_calls_of_no_known_step_are_added_up_under_other() -> None:
    [row] = cost_rows([replace(COST, step=step) for step in (None, "", "benchmark", "/x", "x/")])
    assert (row.fact, row.partition_key, row.replies, row.failed, row.cost) == ("other", None, 50, 10, 1.25)


def test_an_endpoint_whose_provider_changed_has_a_row_of_each() -> None:
    told = cost_rows([COST, replace(COST, provider="before", cost=1.0)])
    assert [(row.provider, row.cost) for row in told] == [("before", 1.0), ("lab", 0.25)]


names = st.sampled_from(["a", "b/c", "b/", "lab"])
drawn = st.lists(
    st.builds(
        replace,
        st.just(COST),
        step=st.sampled_from([None, "issues/s", "responses/s/m", "responses/s/m2", "no step"]),
        endpoint=names,
        provider=names,
        model=names,
        cost=st.floats(0, 1000),
    ),
    max_size=12,
)


@given(drawn, st.randoms(use_true_random=False))
def test_rows_are_facts_whatever_the_order_of_the_ledger(costs: list[StepCost], shuffling: random.Random) -> None:
    told = cost_rows(costs)
    frame_of(CallCost, told)  # raises unless keys ascend and no two are equal
    shuffled = costs.copy()
    shuffling.shuffle(shuffled)
    again = cost_rows(shuffled)
    assert [replace(row, cost=0.0) for row in again] == [replace(row, cost=0.0) for row in told]
    assert sum(row.replies for row in told) == sum(cost.replies for cost in costs)


def test_the_order_in_which_calls_were_added_up_does_not_show() -> None:
    # 0.1 + 0.2 + 0.3 is 0.6000000000000001 from the left and 0.6 from the right.
    costs = [replace(COST, step=None, cost=cost) for cost in (0.1, 0.2, 0.3)]
    assert cost_rows(costs) == cost_rows(costs[::-1])
    assert cost_rows(costs)[0].cost == 0.6


CALL = FinishedCall(
    fingerprint="f1",
    kind="reply",
    endpoint="lab",
    provider="lab",
    model="org/m",
    request=b"{}",
    reply=b"{}",
    status=200,
    message=None,
    input_tokens=10,
    output_tokens=5,
    started_at="2026-11-01T00:00:00+00:00",
    latency=0.5,
    attempts=1,
    run="run",
    cached_tokens=4,
    reasoning_tokens=2,
    cost=0.5,
    step="responses/sample-20260101/aligned",
)


def append(project: Project, *calls: FinishedCall) -> None:
    """Store calls in the project's ledger."""

    async def run_all() -> None:
        for call in calls:
            await ledger.append(call)

    with open_ledger(project) as ledger:
        asyncio.run(run_all())


def costs_in(project: Project) -> list[tuple[object, ...]]:
    with read(project.settings.warehouse) as connection:
        statement = "SELECT fact, partition_key, replies, failed, input_tokens, cached_tokens, cost FROM call_costs"
        return rows(connection, statement).rows()


def test_costs_are_read_at_each_build_and_change_no_data_version(project: Project) -> None:
    failed = replace(CALL, fingerprint="f2", kind="failed", reply=None, status=500, cost=None)
    failed = replace(failed, input_tokens=None, output_tokens=None, cached_tokens=None, reasoning_tokens=None)
    append(project, CALL, failed)
    first = build_warehouse(project, connect)
    assert costs_in(project) == [("responses", "sample-20260101/aligned", 1, 1, 10, 4, 0.5)]
    append(project, replace(CALL, fingerprint="f3", cost=0.25))
    second = build_warehouse(project, connect)
    assert costs_in(project) == [("responses", "sample-20260101/aligned", 2, 1, 20, 8, 0.75)]
    # No number of a model has changed, so nothing that is made of them is out of date.
    assert second.input_fingerprint == first.input_fingerprint
    assert list(second.warnings) == []


def test_a_server_that_counts_otherwise_is_told_and_stops_nothing(project: Project) -> None:
    append(project, replace(CALL, reasoning_tokens=6))
    report = build_warehouse(project, connect)
    [warning] = report.warnings
    assert warning.startswith("call_costs/more_reasoning_than_output: 1 offending, such as responses/sample-20260101/")
    assert warning.endswith("counts 6 tokens of reasoning among 5 of replies")


def test_a_project_without_a_call_has_a_warehouse_without_costs(project: Project) -> None:
    build_warehouse(project, connect)
    assert costs_in(project) == []
