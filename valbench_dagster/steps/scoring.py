"""Scoring: the numbers of one partition of verdicts, as soon as it is published and before the warehouse is rebuilt.

Runs the same files of `sql/` over the facts of that partition alone: there is one definition of each number.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from valbench_dagster.adapters.warehouse.build import build, read
from valbench_dagster.adapters.warehouse.connection import connect, run_query
from valbench_dagster.records import Pair, Record, Response, Verdict
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.warehouse import SOURCES

SHOWN = ("pac_v3", "pac_released", "vpref", "ref", "ninf", "pac_without_refusal_and_no_information", "coverage")


def partition_scores(project: Project, snapshot: str, model: str, judge: str) -> dict[str, float]:
    """Give the headline numbers of a judge's verdicts on a model, by name; those that are null are left out.

    With two orders each name says which, and those of a subset name it: in a plot of one name over partitions a part
    never stands beside the whole. Rates are 0 to 100, coverage 0 to 1.
    """
    mine: dict[type[Record], list[str]] = {
        Pair: [snapshot],
        Response: [f"{snapshot}/{model}"],
        Verdict: [f"{snapshot}/{model}/{judge}"],
    }
    files = {record.TABLE: project.facts.paths(record, mine.get(record, [])) for record in SOURCES}
    with TemporaryDirectory(prefix="valbench-scores-") as folder:
        target = Path(folder) / "scores.duckdb"
        build(connect, target, files)
        with read(target) as connection:
            lines = run_query(connection, "headline").to_dicts()
    several = len({line["judge_order"] for line in lines}) > 1
    return {f"{name}{_of(line, several)}": line[name] for line in lines for name in SHOWN if line[name] is not None}


def _of(line: Mapping[str, Any], several: bool) -> str:
    """Say in brackets what numbers are of: which order where there are several, which subset where it is not all."""
    said = [line["judge_order"]] * several + [f"subset {line['subset']}"] * (line["subset"] != "all")
    return f" ({', '.join(said)})" if said else ""
