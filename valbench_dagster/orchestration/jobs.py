"""Jobs: what a person launches. One a partition definition, since Dagster cannot mix them in one job."""

from typing import Any

import dagster as dg

from valbench_dagster.roster import Roster

REFRESH_DATASET = "refresh_dataset"
EVALUATE_MODEL = "evaluate_model"
REBUILD_WAREHOUSE = "rebuild_warehouse"


def all_jobs(roster: Roster) -> list[Any]:
    """Make the three jobs; `evaluate_model` asks the judges of the roster's defaults, others by their asset."""
    judges = [dg.AssetKey(["verdicts", judge]) for judge in roster.defaults.judges]
    return [
        dg.define_asset_job(
            REFRESH_DATASET,
            selection=dg.AssetSelection.groups("source", "dataset"),
            description="From the dump of one snapshot to its accepted pairs. Costs the annotation and writing calls "
            "of text that is not in the ledger yet.",
        ),
        dg.define_asset_job(
            EVALUATE_MODEL,
            selection=dg.AssetSelection.assets(dg.AssetKey("responses"), *judges),
            description="One model's responses to one snapshot's pairs, and the default judges' verdicts on them. "
            "Costs two calls a pair and one a judge and order; those in the ledger are free.",
        ),
        dg.define_asset_job(
            REBUILD_WAREHOUSE,
            selection=dg.AssetSelection.groups("warehouse", "report"),
            description="Every table, metric and leaderboard from the facts there are. Costs no calls.",
        ),
    ]
