"""Run config of the assets that ask models: what a run may spend, and how much it asks about.

What a run leaves out is the roster's (`[defaults]`). In the UI: *Open launchpad*, or the config of a backfill.
"""

import dagster as dg
from pydantic import Field

from valbench_dagster.llm.budget import Caps
from valbench_dagster.roster import Roster
from valbench_dagster.stages.subsets import Subset


class AskingConfig(dg.Config):
    """Caps of a run, over all its steps: at a cap it stops cleanly, and run again it goes on."""

    max_cost: float | None = Field(
        default=None, gt=0, description="The most that the run may spend, in the currency of the roster's prices."
    )
    max_tokens: int | None = Field(default=None, gt=0, description="The most tokens, of prompts and replies together.")
    max_calls: int | None = Field(default=None, gt=0, description="The most calls that end, with a reply or without.")

    def caps(self, roster: Roster) -> Caps:
        """Give the caps: the run's own before the roster's."""
        defaults = roster.defaults
        return Caps(
            self.max_cost or defaults.max_cost,
            self.max_tokens or defaults.max_tokens,
            self.max_calls or defaults.max_calls,
        )


class RespondingConfig(AskingConfig):
    """Of a run that asks a respondent: caps, and the subset of the pairs."""

    subset: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the articles that is asked about, drawn evenly over categories and scales. A smaller "
        "share lies inside a larger one of the same seed: nothing is asked twice.",
    )
    subset_seed: int | None = Field(default=None, description="Seed of the draw.")

    def chosen(self, roster: Roster) -> Subset:
        """Give the subset: the run's own before the roster's."""
        defaults = roster.defaults
        fraction = defaults.subset if self.subset is None else self.subset
        return Subset(fraction, defaults.subset_seed if self.subset_seed is None else self.subset_seed)
