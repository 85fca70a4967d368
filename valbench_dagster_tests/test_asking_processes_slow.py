"""Asking from several processes: the same ledger, the same rows, nothing twice, and an orderly end."""

import os
import signal
from pathlib import Path

import pytest

from valbench_dagster.llm.budget import BudgetReached, Caps
from valbench_dagster.llm.stops import EndpointRefused
from valbench_dagster.llm.tally import Progress
from valbench_dagster.project_files import project_file
from valbench_dagster.records import Response
from valbench_dagster.settings import read_settings
from valbench_dagster.steps.asking_processes import CallingProcessError
from valbench_dagster.steps.evaluation import publish_responses
from valbench_dagster.steps.project import Project, open_project
from valbench_dagster_tests.chain import SNAPSHOT, make_dataset, unwatched
from valbench_dagster_tests.gated_stand_ins import gated_stand_ins
from valbench_dagster_tests.homes import Home

pytestmark = pytest.mark.slow


def project_with(folder: Path, home: str, processes: int, url: str = "stand-ins:", model: str = "") -> Project:
    """Open a project whose stand-ins are called from so many processes."""
    text = project_file("roster.toml").read_text(encoding="utf-8")
    text = text.replace('base_url = "stand-ins:"', f'base_url = "{url}"\nprocesses = {processes}')
    if model:
        text = text.replace('model = "stand-in-aligned"', f'model = "{model}"')
    roster = folder / f"roster-{home}.toml"
    roster.write_text(text, encoding="utf-8")
    return open_project(read_settings({"VALBENCH_HOME": str(folder / home), "VALBENCH_ROSTER": str(roster)}))


def rows(project: Project) -> list[Response]:
    return list(project.facts.rows(Response, f"{SNAPSHOT}/aligned"))


def test_two_processes_make_the_rows_of_one_and_ask_nothing_twice(tmp_path: Path) -> None:
    one = project_with(tmp_path, "one", 1)
    pairs = make_dataset(one)["pairs"].pointer.rows
    publish_responses(one, SNAPSHOT, "aligned", "run", unwatched)

    two = project_with(tmp_path, "two", 2)
    make_dataset(two)
    seen: list[Progress] = []
    report = publish_responses(two, SNAPSHOT, "aligned", "run", seen.append)

    assert rows(two) == rows(one)
    asked = [fingerprint for fingerprint, _, _ in Home(tmp_path / "two").asked()]
    assert len(asked) == len(set(asked))
    assert report.tally is not None
    assert (report.tally.questions, report.tally.asked) == (2 * pairs, 2 * pairs)
    assert (seen[-1].done, seen[-1].total) == (2 * pairs, 2 * pairs)


def test_a_refusal_in_one_process_stops_all_and_is_raised_as_it_is_there(tmp_path: Path) -> None:
    # The stand-ins' server knows no model of this name and says so with 404.
    project = project_with(tmp_path, "home", 2, model="stand-in-nobody")
    make_dataset(project)
    with pytest.raises(EndpointRefused, match="'stand-in-nobody'"):
        publish_responses(project, SNAPSHOT, "aligned", "run", unwatched)


def test_the_processes_together_stay_under_a_cap_and_a_rerun_goes_on(tmp_path: Path) -> None:
    project = project_with(tmp_path, "home", 2)
    pairs = make_dataset(project)["pairs"].pointer.rows
    with pytest.raises(BudgetReached, match="run again"):
        publish_responses(project, SNAPSHOT, "aligned", "capped", unwatched, caps=Caps(calls=20))
    assert Home(tmp_path / "home").calls("stand-in-aligned") <= 20
    publish_responses(project, SNAPSHOT, "aligned", "free", unwatched)
    assert Home(tmp_path / "home").calls("stand-in-aligned") == 2 * pairs


def test_a_process_that_dies_ends_the_step_and_loses_nothing_that_was_stored(tmp_path: Path) -> None:
    with gated_stand_ins() as (url, gate):
        project = project_with(tmp_path, "home", 2, url)
        pairs = make_dataset(project)["pairs"].pointer.rows
        gate.hold_after(10)
        killed: list[int] = []

        def kill_one_at_work(progress: Progress) -> None:
            if progress.asked and not killed:
                killed.append(calling_processes()[0])
                os.kill(killed[0], signal.SIGKILL)

        with pytest.raises(CallingProcessError, match="died"):
            publish_responses(project, SNAPSHOT, "aligned", "run", kill_one_at_work)
        gate.open()
        stored = Home(tmp_path / "home").calls("stand-in-aligned")
        report = publish_responses(project, SNAPSHOT, "aligned", "again", unwatched)
        assert report.tally is not None
        assert report.tally.asked == 2 * pairs - stored


def calling_processes() -> list[int]:
    """Give the ids of the processes that this one has started to make calls."""
    mine = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    return [int(pid) for pid in mine if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text("utf-8")]
