"""What starts a refresh by itself: the sensor on the dump server, the schedule, the sensor on the folder; once each."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest

from valbench_dagster.definitions import make_definitions
from valbench_dagster.orchestration.jobs import EVALUATE_MODEL, REFRESH_DATASET
from valbench_dagster.orchestration.partitions import SNAPSHOT, multi_key
from valbench_dagster.orchestration.refreshes import snapshots_under_way, was_refreshed
from valbench_dagster.orchestration.schedules import daily_refresh
from valbench_dagster.orchestration.sensors import local_dumps, new_dumps
from valbench_dagster.project_files import project_file
from valbench_dagster.records import Pair
from valbench_dagster.settings import read_settings
from valbench_dagster.steps.fetching import fetch_snapshot
from valbench_dagster.steps.project import Project, open_project
from valbench_dagster.steps.source import SAMPLE_SNAPSHOT, add_sample
from valbench_dagster_tests.dump_content import classic_snapshot, exports_snapshot
from valbench_dagster_tests.dump_server import DumpServerHandle, Status, dump_server
from valbench_dagster_tests.followed_wiki import FIRST, FIRST_KEY, SECOND, SECOND_KEY, WIKI, first_pages

FILES = {day: classic_snapshot(WIKI, day, first_pages(3), pages_a_stream=3) for day in (FIRST, SECOND)}


@pytest.fixture
def server() -> Iterator[DumpServerHandle]:
    with dump_server() as handle:
        yield handle


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    # A schedule asks for its instance by reference, which one in memory has not.
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as held:
        yield held


@pytest.fixture
def instance(on_disk: dg.DagsterInstance) -> Iterator[dg.DagsterInstance]:
    """An instance without runs and partitions."""
    yield on_disk
    on_disk.wipe()
    assert (on_disk.get_runs_count(), on_disk.get_dynamic_partitions(SNAPSHOT.name or "")) == (0, [])


@pytest.fixture
def project_of(tmp_path: Path, server: DumpServerHandle) -> Callable[..., Project]:
    def make(**variables: str) -> Project:
        env = {
            "VALBENCH_HOME": str(tmp_path / "home"),
            "VALBENCH_ROSTER": str(project_file("roster.toml")),
            "VALBENCH_DUMP_SERVER": server.url,
            "VALBENCH_CONTACT": "me@example.org",
        }
        return open_project(read_settings({**env, **variables}))

    return make


def look(project: Project, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    """Let the sensor look once, and add the partitions that it wants, as the daemon does."""
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources={"project": project}) as context:
        found: Any = new_dumps(60)(context)
    assert isinstance(found, dg.SensorResult)
    for request in found.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    return found


def asked(result: dg.SensorResult) -> list[tuple[str | None, str | None]]:
    return [(request.run_key, request.partition_key) for request in result.run_requests or []]


def skipped(result: dg.SensorResult) -> str | None:
    return result.skip_reason.skip_message if result.skip_reason else None


def scheduled(project: Project, instance: dg.DagsterInstance) -> list[dg.RunRequest | dg.SkipReason]:
    with dg.build_schedule_context(instance=instance, resources={"project": project}) as context:
        found: Any = daily_refresh(context)
        return list(found)


def requested_locally(project: Project, instance: dg.DagsterInstance) -> Sequence[str | None]:
    with dg.build_sensor_context(instance=instance, resources={"project": project}) as context:
        found: Any = local_dumps(context)
    return [request.partition_key for request in found.run_requests]


def run_of(
    instance: dg.DagsterInstance, snapshot: str, status: dg.DagsterRunStatus, job: str = REFRESH_DATASET
) -> None:
    """Enter a run in the instance's book."""
    tags = {"dagster/partition": snapshot}
    instance.add_run(dg.DagsterRun(job_name=job, run_id=str(uuid4()), status=status, tags=tags))


def lay_down(server: DumpServerHandle, *days: Any, **how: Any) -> None:
    for day in days:
        server.add_classic(WIKI, day, FILES[day], **how)


def test_what_asks_the_dump_server_ships_stopped_and_says_what_it_costs(project_of: Callable[..., Project]) -> None:
    definitions = make_definitions(project_of(VALBENCH_DUMP_POLL_S="7"))
    sensor = definitions.resolve_sensor_def("new_dumps")
    schedule = definitions.resolve_schedule_def("daily_refresh")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert sensor.minimum_interval_seconds == 7
    for said in (sensor.description, schedule.description):
        assert "Ships stopped" in (said or "")
    assert "VALBENCH_CONTACT" in (sensor.description or "")
    assert new_dumps(read_settings({}).dump_poll_s).minimum_interval_seconds == 3600


def test_the_first_look_asks_for_the_newest_dump_alone_and_makes_it_a_partition(
    server: DumpServerHandle, project_of: Callable[..., Project], instance: dg.DagsterInstance
) -> None:
    lay_down(server, FIRST, SECOND)
    found = look(project_of(), instance)
    assert asked(found) == [(SECOND_KEY, SECOND_KEY)]
    assert found.cursor == '{"enwiki":"20261101"}'
    assert instance.get_dynamic_partitions(SNAPSHOT.name or "") == [SECOND_KEY]
    again = look(project_of(), instance, found.cursor)
    assert (asked(again), skipped(again), again.cursor) == ([], "no newer complete dump", found.cursor)
    assert not again.dynamic_partitions_requests


def test_a_dump_in_the_making_starts_nothing_and_a_complete_one_one_refresh(
    server: DumpServerHandle, project_of: Callable[..., Project], instance: dg.DagsterInstance
) -> None:
    lay_down(server, FIRST)
    first = look(project_of(), instance)
    lay_down(server, SECOND, status="in-progress")
    waiting = look(project_of(), instance, first.cursor)
    assert (asked(waiting), waiting.cursor) == ([], first.cursor)
    server.set_status(WIKI, SECOND, "done")
    assert asked(look(project_of(), instance, first.cursor)) == [(SECOND_KEY, SECOND_KEY)]


def test_an_export_starts_one_refresh_when_its_checksums_appear(
    server: DumpServerHandle, project_of: Callable[..., Project], instance: dg.DagsterInstance
) -> None:
    files = exports_snapshot(WIKI, FIRST, first_pages(3))
    server.add_exports(WIKI, FIRST, files, complete=False)
    assert asked(look(project_of(), instance)) == []
    server.add_exports(WIKI, FIRST, files)
    found = look(project_of(), instance)
    assert asked(found) == [(FIRST_KEY, FIRST_KEY)]
    assert asked(look(project_of(), instance, found.cursor)) == []


def test_the_cursor_keeps_wikis_apart(
    server: DumpServerHandle, project_of: Callable[..., Project], instance: dg.DagsterInstance
) -> None:
    lay_down(server, FIRST)
    server.add_classic("dewiki", SECOND, classic_snapshot("dewiki", SECOND, first_pages(3)))
    found = look(project_of(VALBENCH_WIKIS="enwiki,dewiki"), instance, '{"enwiki":"20261001","frwiki":"20260101"}')
    assert asked(found) == [("dewiki-20261101", "dewiki-20261101")]
    assert found.cursor == '{"enwiki":"20261001","frwiki":"20260101","dewiki":"20261101"}'


def test_trouble_is_a_reason_to_skip_and_keeps_the_cursor(
    server: DumpServerHandle, project_of: Callable[..., Project], instance: dg.DagsterInstance
) -> None:
    lay_down(server, FIRST)
    cursor = '{"enwiki":"20260901"}'
    found = look(project_of(VALBENCH_CONTACT=""), instance, cursor)
    assert (asked(found), found.cursor) == ([], cursor)
    assert "set VALBENCH_CONTACT to your e-mail address" in (skipped(found) or "")
    server.script(f"/{WIKI}/", Status(403))
    found = look(project_of(), instance, cursor)
    assert (asked(found), found.cursor) == ([], cursor)
    assert "403" in (skipped(found) or "")
    assert asked(look(project_of(), instance, cursor)) == [(FIRST_KEY, FIRST_KEY)]


@pytest.mark.parametrize("cursor", ["enwiki", "[1]", '{"enwiki": 20261101}'])
def test_a_cursor_that_somebody_wrote_wrongly_is_named(
    cursor: str, project_of: Callable[..., Project], instance: dg.DagsterInstance
) -> None:
    resources = {"project": project_of()}
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources) as context:
        found: Any = new_dumps(60)(context)
    assert isinstance(found, dg.SkipReason)
    assert 'expected such as {"enwiki": "20261101"}' in (found.skip_message or "")


def test_the_schedule_asks_for_the_same_and_the_run_can_be_made(
    server: DumpServerHandle, project_of: Callable[..., Project], instance: dg.DagsterInstance
) -> None:
    lay_down(server, FIRST, SECOND)
    project = project_of()
    definitions = make_definitions(project)
    with dg.build_schedule_context(
        instance=instance, resources={"project": project}, repository_def=definitions.get_repository_def()
    ) as context:
        tick = definitions.resolve_schedule_def("daily_refresh").evaluate_tick(context)
    [request] = tick.run_requests or []
    assert (request.run_key, request.partition_key) == (SECOND_KEY, SECOND_KEY)
    assert request.tags["dagster/partition"] == SECOND_KEY
    assert instance.has_dynamic_partition(SNAPSHOT.name or "", SECOND_KEY)
    server.set_status(WIKI, SECOND, "in-progress")
    server.set_status(WIKI, FIRST, "waiting")
    [skip] = scheduled(project_of(), instance)
    assert isinstance(skip, dg.SkipReason)
    [skip] = scheduled(project_of(VALBENCH_CONTACT=""), instance)
    assert isinstance(skip, dg.SkipReason)
    assert "VALBENCH_CONTACT" in (skip.skip_message or "")


@pytest.mark.parametrize(
    "status",
    [
        *(dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS),
        *(dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED),
    ],
)
def test_a_snapshot_whose_refresh_was_started_is_not_started_again(
    status: dg.DagsterRunStatus,
    server: DumpServerHandle,
    project_of: Callable[..., Project],
    instance: dg.DagsterInstance,
) -> None:
    # Whoever started it: sensor, schedule or a person; and however it ended.
    lay_down(server, FIRST, SECOND)
    run_of(instance, SECOND_KEY, status)
    found = look(project_of(), instance)
    assert (asked(found), found.cursor) == ([], '{"enwiki":"20261101"}')
    [skip] = scheduled(project_of(), instance)
    assert isinstance(skip, dg.SkipReason)


def test_facts_without_a_run_are_enough_to_know_a_refresh_and_a_run_of_something_else_is_not(
    server: DumpServerHandle, project_of: Callable[..., Project], instance: dg.DagsterInstance
) -> None:
    lay_down(server, FIRST, SECOND)
    project = project_of()
    run_of(instance, SECOND_KEY, dg.DagsterRunStatus.SUCCESS, job="__ASSET_JOB")
    assert not was_refreshed(instance, SECOND_KEY)
    assert asked(look(project, instance)) == [(SECOND_KEY, SECOND_KEY)]
    # While it is at work, no other is begun.
    run_of(instance, SECOND_KEY, dg.DagsterRunStatus.STARTED, job="__ASSET_JOB")
    assert asked(look(project, instance)) == []
    project.facts.publish(Pair, SECOND_KEY, [], input_fingerprint="x")
    with dg.DagsterInstance.ephemeral() as other:
        assert asked(look(project, other)) == []


def test_the_folder_s_sensor_leaves_alone_what_was_fetched_and_refreshed_or_is_at_work(
    server: DumpServerHandle, project_of: Callable[..., Project], instance: dg.DagsterInstance
) -> None:
    lay_down(server, FIRST)
    project = project_of()
    fetch_snapshot(project, FIRST_KEY)
    add_sample(project)

    assert requested_locally(project, instance) == [FIRST_KEY, SAMPLE_SNAPSHOT]
    run_of(instance, SAMPLE_SNAPSHOT, dg.DagsterRunStatus.STARTED)
    assert requested_locally(project, instance) == [FIRST_KEY]
    # What was placed by hand may have changed since its refresh: its run key knows. What was fetched never changes.
    with dg.DagsterInstance.ephemeral() as other:
        for key in (FIRST_KEY, SAMPLE_SNAPSHOT):
            run_of(other, key, dg.DagsterRunStatus.SUCCESS)
        assert requested_locally(project, other) == [SAMPLE_SNAPSHOT]


def test_the_snapshots_that_runs_are_at_work_on_are_known(instance: dg.DagsterInstance) -> None:
    run_of(instance, FIRST_KEY, dg.DagsterRunStatus.SUCCESS)
    run_of(instance, SECOND_KEY, dg.DagsterRunStatus.STARTING)
    key = multi_key(SAMPLE_SNAPSHOT, "aligned")
    tags = {"dagster/partition": str(key), "dagster/partition/snapshot": SAMPLE_SNAPSHOT}
    for job, of, status in (
        (EVALUATE_MODEL, tags, dg.DagsterRunStatus.STARTED),
        ("rebuild_warehouse", {}, dg.DagsterRunStatus.STARTED),
        ("rebuild_warehouse", {}, dg.DagsterRunStatus.SUCCESS),
    ):
        instance.add_run(dg.DagsterRun(job_name=job, run_id=f"{job}-{status.value}", status=status, tags=of))
    of_one, of_none = snapshots_under_way(instance)
    assert (sorted(of_one), of_none) == ([SECOND_KEY, SAMPLE_SNAPSHOT], ["rebuild_warehouse-STARTED"])
