"""What a step says of itself when it ends: the same for a person in the UI, a line on a terminal and a test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from valbench_dagster.adapters.facts import Pointer
from valbench_dagster.llm.dispatcher import Progress, Tally

Watch = Callable[[Progress], None]
"""Called every so often while a step asks models."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """`fresh` is false where the published facts were already those of this input and nothing was done.

    `counts` are rows by outcome or reason; `tally` says what was asked of models, null for steps that ask none;
    `cost` is what the calls of this run cost by the roster's prices, null likewise. `asked` says of how much of all
    there is, as `1,150 of 11,502 pairs (...)`; null for steps that take everything.
    """

    pointer: Pointer
    fresh: bool
    counts: Mapping[str, int] = field(default_factory=dict)
    tally: Tally | None = None
    cost: float | None = None
    asked: str | None = None
    cost_so_far: float | None = None
    """What all calls that were made for the partition cost, by whatever run; null for steps that ask none."""
