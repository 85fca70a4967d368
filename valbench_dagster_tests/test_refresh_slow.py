"""A new dump flows in by itself: `dagster dev`, its sensor on, and a dump server on which a second dump appears."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from valbench_dagster.project_files import project_file
from valbench_dagster.records import DumpFile, Pair, Section
from valbench_dagster.settings import read_settings
from valbench_dagster.steps.project import Project, open_project
from valbench_dagster_tests.dagster_dev import REPOSITORY, DagsterDev, Run, dagster_dev
from valbench_dagster_tests.dump_content import WrittenPage, classic_snapshot
from valbench_dagster_tests.dump_lists import JobStatus, classic, write_tree
from valbench_dagster_tests.dump_server import served_folder
from valbench_dagster_tests.followed_wiki import FIRST, FIRST_KEY, SECOND, SECOND_KEY, WIKI, first_pages, second_pages
from valbench_dagster_tests.homes import Home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SENSOR = "new_dumps"
POLL_S = 2


@dataclass(frozen=True, slots=True)
class Site:
    """A server of Dagster, and the folder that a dump server serves."""

    server: DagsterDev
    tree: Path

    @property
    def project(self) -> Project:
        """The project that the server runs."""
        return open_project(read_settings(self.server.env))

    def calls(self) -> int:
        """Count the calls in the ledger."""
        return len(Home(self.project.settings.home).asked())

    def lay_down(self, day: date, pages: list[WrittenPage], status: JobStatus) -> None:
        """Put a dump of that day on the dump server, as far as it is by that status."""
        files = classic_snapshot(WIKI, day, pages, numbers=(1, 2), pages_a_stream=3)
        write_tree(self.tree, classic(WIKI, day, files, status, {}).served())

    def refreshes(self) -> list[Run]:
        """Give the runs of the job that the sensor starts, newest first."""
        return self.server.runs(pipelineName="refresh_dataset")

    def refreshed(self, snapshot: str) -> Run:
        """Wait for the refresh of a snapshot that nobody but the sensor starts; gives its run as it ended."""

        def look() -> Run | None:
            found = [run for run in self.refreshes() if run.partition == snapshot]
            return found[0] if found and found[0].end else None

        return self.server.wait_for(f"refresh of {snapshot}", look, 300)

    def look_twice(self) -> None:
        """Wait until the sensor has begun and ended a look from now on."""
        before = self.server.ticks(SENSOR)[0]
        self.server.wait_for("two more looks", lambda: sum(tick > before for tick in self.server.ticks(SENSOR)) >= 2)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("refresh")
    tree = root / "tree"
    (tree / WIKI).mkdir(parents=True)
    with served_folder(tree, root / "dumps-work", "dumps") as (url, _):
        variables = {
            "VALBENCH_CONTACT": "me@example.org",
            "VALBENCH_DUMP_SERVER": url,
            "VALBENCH_DUMP_POLL_S": str(POLL_S),
        }
        with dagster_dev(root, project_file("roster.toml"), variables) as server:
            yield Site(server, tree)


def dry_run_of_the_schedule(server: DagsterDev) -> list[str]:
    """Give the run keys that the schedule asks for, or else why it asks for none, as its page shows on "Preview"."""
    found = server.query(
        """mutation($selector: ScheduleSelector!, $at: Float!) { scheduleDryRun(selectorData: $selector, timestamp: $at)
        { __typename ... on DryRunInstigationTick { evaluationResult { error { message } skipReason
        runRequests { runKey } } } } }""",
        selector={**REPOSITORY, "scheduleName": "daily_refresh"},
        at=server.ticks(SENSOR)[0],
    )["scheduleDryRun"]["evaluationResult"]
    assert found["error"] is None, found
    return [request["runKey"] for request in found["runRequests"] or []] or [found["skipReason"]]


def test_each_complete_dump_is_refreshed_once_and_only_changed_text_is_paid_for(site: Site) -> None:
    server = site.server
    site.lay_down(FIRST, first_pages(), "done")
    server.switch(SENSOR, on=True)
    first = site.refreshed(FIRST_KEY)
    assert first.status == "SUCCESS", server.events(first.run_id)
    # 13 sections are annotated, of 11 a pair is written.
    paid = site.calls()
    assert paid == 13 + 11
    assert dry_run_of_the_schedule(server) == ["no newer complete dump"]

    # A dump in the making: there are lists and no files.
    site.lay_down(SECOND, second_pages(), "in-progress")
    site.look_twice()
    assert [run.run_id for run in site.refreshes()] == [first.run_id]
    assert not (site.project.settings.dumps / SECOND_KEY).exists()

    site.lay_down(SECOND, second_pages(), "done")
    second = site.refreshed(SECOND_KEY)
    assert second.status == "SUCCESS", server.events(second.run_id)
    site.look_twice()
    assert [run.run_id for run in site.refreshes()] == [second.run_id, first.run_id], "exactly one refresh each"
    assert second.tags["dagster/run_key"] == SECOND_KEY
    assert dry_run_of_the_schedule(server) == ["no newer complete dump"]

    # Two sections are new to the ledger, one changed and one added: each is annotated, and of each a pair is written.
    assert site.calls() == paid + 2 + 2
    facts = site.project.facts
    assert {(row.layout, row.verified) for row in facts.rows(DumpFile, SECOND_KEY)} == {("classic", True)}
    pairs = {key: {row.pair_id for row in facts.rows(Pair, key)} for key in (FIRST_KEY, SECOND_KEY)}
    assert (len(pairs[SECOND_KEY]), len(pairs[FIRST_KEY] & pairs[SECOND_KEY])) == (12, 10)
    assert {row.snapshot for row in facts.rows(Section, SECOND_KEY)} == {SECOND_KEY}


def test_a_snapshot_that_came_by_itself_is_a_partition_like_any_other(site: Site) -> None:
    keys, there = site.server.partitions("pairs")
    assert {FIRST_KEY, SECOND_KEY} <= keys
    assert {FIRST_KEY, SECOND_KEY} <= there
    for asset in ("dump", "sections", "pairs"):
        assert set(site.server.checks(asset).values()) == {"SUCCEEDED"}, asset
