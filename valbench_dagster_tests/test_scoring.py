"""The numbers of one partition are those that the warehouse will hold for it."""

import pytest

from valbench_dagster.steps.project import Project
from valbench_dagster.steps.reporting import read_report
from valbench_dagster.steps.scoring import SHOWN, partition_scores
from valbench_dagster_tests.chain import SNAPSHOT, build, evaluate, make_dataset


@pytest.mark.parametrize("judge", ["stand-in-v3", "stand-in-released"])
def test_a_partition_s_numbers_are_those_of_the_warehouse(project: Project, judge: str) -> None:
    make_dataset(project)
    evaluate(project, ["mixture", "refuser"], [judge])
    build(project)
    for row in read_report(project, "headline").to_dicts():
        numbers = partition_scores(project, SNAPSHOT, row["model"], judge)
        assert numbers == {name: row[name] for name in SHOWN if row[name] is not None}
        assert ("vpref" in numbers) == (judge == "stand-in-v3"), "a number that is null is no number to plot"
