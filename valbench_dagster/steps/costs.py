"""Costs: what the ledger says was spent for which facts, as rows of the table `call_costs`.

Here belongs how a sum of the ledger becomes a row. What a call costs is fixed when it is made, by the roster's prices
of then; how a line of the leaderboard gets its cost from these rows is SQL.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from valbench_dagster.llm.ledger import StepCost
from valbench_dagster.records import CallCost
from valbench_dagster.steps.asking import open_ledger
from valbench_dagster.steps.project import Project

OTHER = "other"
"""The fact of calls that were made outside of a step, or before the ledger kept what a call was made for."""

COST_DECIMALS = 9
"""To a billionth: what lies behind is the order in which calls were added up, and equal calls must give equal rows."""

Key = tuple[str, str | None, str, str, str]
"""Fact, partition, endpoint, provider, model."""


def call_costs(project: Project) -> list[CallCost]:
    """Read what the ledger holds by now; raises `LedgerUnwritable` where it does not open."""
    with open_ledger(project) as ledger:
        return cost_rows(ledger.costs())


def cost_rows(costs: Iterable[StepCost]) -> list[CallCost]:
    """Make the rows of the table, in the order of its key; sums of one key, such as those under `other`, are added."""
    by_key: dict[Key, list[StepCost]] = defaultdict(list)
    for cost in costs:
        by_key[*_made_for(cost.step), cost.endpoint, cost.provider, cost.model].append(cost)
    ordered = sorted(by_key, key=lambda key: tuple((part is not None, part or "") for part in key))
    return [_row(key, by_key[key]) for key in ordered]


def _made_for(step: str | None) -> tuple[str, str | None]:
    """Give fact and partition of a step's name, as `responses/enwiki-20261101/llama`."""
    fact, _, partition = (step or "").partition("/")
    return (fact, partition) if fact and partition else (OTHER, None)


def _row(key: Key, costs: Sequence[StepCost]) -> CallCost:
    fact, partition, endpoint, provider, model = key
    return CallCost(
        fact=fact,
        partition_key=partition,
        endpoint=endpoint,
        provider=provider,
        served_as=model,
        replies=sum(cost.replies for cost in costs),
        rejected=sum(cost.rejected for cost in costs),
        failed=sum(cost.failed for cost in costs),
        input_tokens=sum(cost.input_tokens for cost in costs),
        cached_tokens=sum(cost.cached_tokens for cost in costs),
        output_tokens=sum(cost.output_tokens for cost in costs),
        reasoning_tokens=sum(cost.reasoning_tokens for cost in costs),
        cost=round(sum(cost.cost for cost in costs), COST_DECIMALS),
    )
