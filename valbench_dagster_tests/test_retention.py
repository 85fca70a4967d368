"""Retention: what prune takes and what it never takes; and that one that was killed can be ended by the next."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.adapters.facts import Facts
from valbench_dagster.cli import main
from valbench_dagster.dumps.files import discover, state_of
from valbench_dagster.dumps.manifest import FETCHING, MANIFEST, Manifest, ManifestFile, write_manifest
from valbench_dagster.dumps.names import DumpFilesError
from valbench_dagster.project_files import project_file
from valbench_dagster.records import CheckFailure, DumpFile, Issue, Model, Pair, Record, Response, Section, Verdict
from valbench_dagster.settings import read_settings
from valbench_dagster.steps.project import Project, open_project
from valbench_dagster.steps.retention import Share, apply, outdated, plan
from valbench_dagster.steps.warehouse import SOURCES

MONTHS = ("enwiki-20260801", "enwiki-20260901", "enwiki-20261001", "enwiki-20261101")
SOME_HASH = "0" * 64


@pytest.fixture
def project_of(tmp_path: Path) -> Callable[..., Project]:
    def make(**variables: str) -> Project:
        env = {"VALBENCH_HOME": str(tmp_path), "VALBENCH_ROSTER": str(project_file("roster.toml")), **variables}
        return open_project(read_settings(env))

    return make


def fetched(project: Project, snapshot: str, size: int = 1000) -> Path:
    """Lay down a snapshot as a fetch leaves it."""
    folder = project.settings.dumps / snapshot
    folder.mkdir(parents=True)
    (folder / f"{snapshot}.xml").write_bytes(bytes(size))
    file = ManifestFile(name=f"{snapshot}.xml", role="articles", bytes=size, sha256=SOME_HASH, published=None)
    manifest = Manifest(
        snapshot=snapshot, layout="classic", source="x", fetched_at=datetime.now(UTC), offer="x", files=(file,)
    )
    write_manifest(folder, manifest)
    return folder


def by_hand(project: Project, snapshot: str) -> Path:
    folder = project.settings.dumps / snapshot
    folder.mkdir(parents=True)
    (folder / "mine.xml").write_bytes(bytes(1000))
    return folder


def publish(project: Project, snapshot: str, *records: type[Record]) -> None:
    """Publish facts of a snapshot without rows, files as old as facts of last month are."""
    for record in records or (DumpFile, Section, Issue, Pair, Response, Verdict, CheckFailure):
        partition = {
            Response: f"{snapshot}/aligned",
            Verdict: f"{snapshot}/aligned/stand-in-v3",
            CheckFailure: f"verdicts/some_check/{snapshot}/aligned/stand-in-v3",
        }.get(record, snapshot)
        project.facts.publish(record, partition, [], input_fingerprint="x")
    for path in Path(project.settings.facts).rglob("*.parquet"):
        os.utime(path, (0, 0))


def held(project: Project) -> dict[str, list[str]]:
    """Give the partitions of every table that has some."""
    found = {record.TABLE: project.facts.partitions(record) for record in SOURCES}
    return {table: partitions for table, partitions in found.items() if partitions}


def going(project: Project, busy: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    return [(share.snapshot, share.what) for share in plan(project, busy).removals]


def test_everything_is_kept_unless_a_setting_says_otherwise(project_of: Callable[..., Project]) -> None:
    project = project_of()
    for snapshot in MONTHS:
        fetched(project, snapshot)
        publish(project, snapshot)
    assert plan(project).removals == plan(project).kept == ()


def test_old_dump_files_go_and_their_facts_stay(project_of: Callable[..., Project]) -> None:
    project = project_of(VALBENCH_KEEP_DUMPS="2")
    for snapshot in MONTHS:
        fetched(project, snapshot)
        publish(project, snapshot)
    facts = held(project)
    planned = plan(project)
    size = 1000 + (project.settings.dumps / MONTHS[0] / MANIFEST).stat().st_size
    reason = "older than the 2 newest with dump files of its wiki (VALBENCH_KEEP_DUMPS)"
    assert planned.removals == tuple(Share(snapshot, "dump files", size, reason) for snapshot in MONTHS[:2])
    assert planned.bytes == 2 * size
    assert sorted(discover(project.settings.dumps)) == list(MONTHS), "planning takes nothing"
    apply(project, planned)
    assert sorted(discover(project.settings.dumps)) == list(MONTHS[2:])
    assert sorted(path.name for path in project.settings.dumps.iterdir() if path.is_dir()) == list(MONTHS[2:])
    assert held(project) == facts
    assert plan(project).removals == ()


def test_old_facts_go_with_all_their_tables_and_the_ledger_stays(project_of: Callable[..., Project]) -> None:
    project = project_of(VALBENCH_KEEP_FACTS="1")
    for snapshot in MONTHS[:2]:
        fetched(project, snapshot)
        publish(project, snapshot)
    publish(project, "dewiki-20260101")
    project.facts.publish(Model, "all", [], input_fingerprint="x")
    ledger = project.settings.home / "ledger.sqlite"
    ledger.write_bytes(b"what was paid for")
    planned = plan(project)
    [share] = planned.removals
    assert (share.snapshot, share.what) == (MONTHS[0], "facts")
    assert share.bytes > 0
    swept = apply(project, planned)
    assert not any(MONTHS[0] in each for partitions in held(project).values() for each in partitions)
    assert len(swept) == 7, "one file a table"
    assert not list(Path(project.settings.facts).rglob(f"*/{MONTHS[0]}/**/*.parquet"))
    assert held(project)["pairs"] == ["dewiki-20260101", MONTHS[1]]
    assert held(project)["models"] == ["all"]
    assert ledger.read_bytes() == b"what was paid for"
    assert sorted(discover(project.settings.dumps)) == list(MONTHS[:2]), (
        "facts and dump files go by settings of their own"
    )


def test_every_table_with_snapshots_is_among_those_that_go() -> None:
    from valbench_dagster import records

    declared = {value for value in vars(records).values() if isinstance(value, type) and hasattr(value, "TABLE")}
    assert declared - {Record} == set(SOURCES)


def test_a_model_named_like_a_snapshot_is_no_snapshot(project_of: Callable[..., Project]) -> None:
    project = project_of(VALBENCH_KEEP_FACTS="1")
    for snapshot in ("enwiki-20261001", "enwiki-20261101"):
        publish(project, snapshot, Pair)
        project.facts.publish(Response, f"{snapshot}/enwiki-20200101", [], input_fingerprint="x")
    assert going(project) == [("enwiki-20261001", "facts")]
    apply(project, plan(project))
    assert held(project) == {"pairs": ["enwiki-20261101"], "responses": ["enwiki-20261101/enwiki-20200101"]}


def test_a_refresh_that_is_not_done_pushes_nothing_out(project_of: Callable[..., Project]) -> None:
    # The newest has no pairs yet, the one before is the last whole one; of dump files the same.
    project = project_of(VALBENCH_KEEP_FACTS="1", VALBENCH_KEEP_DUMPS="1")
    for snapshot in MONTHS[:2]:
        publish(project, snapshot)
        fetched(project, snapshot)
    publish(project, MONTHS[2], DumpFile, Section)
    (fetched(project, MONTHS[2]) / FETCHING).write_text("{}", encoding="utf-8")
    assert going(project) == [(MONTHS[0], "dump files"), (MONTHS[0], "facts")]


def test_what_somebody_is_at_work_on_or_placed_by_hand_stays_and_says_why(project_of: Callable[..., Project]) -> None:
    project = project_of(VALBENCH_KEEP_FACTS="1", VALBENCH_KEEP_DUMPS="1")
    hand, broken, mixed, busy, unreadable = (f"enwiki-2026010{day}" for day in range(1, 6))
    by_hand(project, hand)
    (fetched(project, broken) / FETCHING).write_text("{}", encoding="utf-8")
    (fetched(project, mixed) / "notes.txt").write_text("mine", encoding="utf-8")
    fetched(project, busy)
    (fetched(project, unreadable) / MANIFEST).write_text("{}", encoding="utf-8")
    fetched(project, MONTHS[0])
    for snapshot in (broken, busy, MONTHS[0]):
        publish(project, snapshot, Pair)
    planned = plan(project, frozenset([busy]))
    assert planned.removals == ()
    assert [(share.snapshot, share.what, share.reason.partition(":")[0]) for share in planned.kept] == [
        (hand, "dump files", "placed by hand, so it may be the only copy"),
        (broken, "dump files", "a fetch is under way, or broke off"),
        (mixed, "dump files", "holds what was not fetched"),
        (busy, "dump files", "a run is at work on it"),
        (unreadable, "dump files", "its manifest cannot be read"),
        (broken, "facts", "a fetch is under way, or broke off"),
        (busy, "facts", "a run is at work on it"),
    ]
    before = set(project.settings.dumps.rglob("*"))
    apply(project, planned)
    assert set(project.settings.dumps.rglob("*")) == before


@given(
    keys=st.lists(st.sampled_from([f"{wiki}-202601{day:02}" for wiki in "ab" for day in range(1, 9)]), unique=True),
    part=st.sets(st.integers(0, 15)),
    keep=st.integers(1, 5),
)
def test_the_newest_of_a_wiki_never_goes(keys: list[str], part: set[int], keep: int) -> None:
    whole = [key for place, key in enumerate(keys) if place in part]
    gone = {key for key, _ in outdated(keys, whole, keep, "SETTING", "that are whole")}
    for _, of_wiki in groupby(sorted(keys), key=lambda key: key[0]):
        group = list(of_wiki)
        left = [key for key in group if key not in gone]
        assert left, "the newest stays"
        assert left == group[-len(left) :], "only the oldest go"
        assert len({*left} & {*whole}) == min(keep, len({*group} & {*whole}))
    # What is left is what would be left by deciding again.
    rest = [key for key in keys if key not in gone]
    assert outdated(rest, [key for key in whole if key not in gone], keep, "SETTING", "that are whole") == []


class Dying(Facts):
    """Facts whose process dies before the pointer of that number is taken away."""

    def __init__(self, url: str, survives: int) -> None:
        super().__init__(url)
        self._left = survives

    def withdraw(self, record: type[Record], partition: str) -> bool:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        return super().withdraw(record, partition)


@pytest.mark.parametrize("survives", range(7))
def test_one_that_was_killed_leaves_no_table_without_what_it_was_made_from_and_the_next_ends_it(
    survives: int, project_of: Callable[..., Project]
) -> None:
    project = project_of(VALBENCH_KEEP_FACTS="1")
    for snapshot in MONTHS[:2]:
        publish(project, snapshot)
    dying = Project(project.settings, project.roster, Dying(project.settings.facts, survives))
    with pytest.raises(KeyboardInterrupt):
        apply(dying, plan(dying))
    flow = ["dump", "sections", "issues", "pairs", "responses", "verdicts", "check_failures"]
    left = [table for table in flow if any(MONTHS[0] in each for each in held(project).get(table, []))]
    assert left == flow[: 7 - survives]
    apply(project, plan(project))
    assert not any(MONTHS[0] in each for partitions in held(project).values() for each in partitions)
    assert not list(Path(project.settings.facts).rglob(f"*/{MONTHS[0]}/**/*.parquet"))
    assert len(held(project)) == 7


def test_a_folder_that_was_half_deleted_is_no_snapshot_and_goes_next_time(project_of: Callable[..., Project]) -> None:
    project = project_of(VALBENCH_KEEP_DUMPS="1")
    for snapshot in MONTHS[:2]:
        fetched(project, snapshot)
    # As a kill between the rename and the last unlink leaves it; meanwhile it was fetched again, and is old again.
    fetched(project, MONTHS[0] + "9").rename(project.settings.dumps / f".{MONTHS[0]}.going")
    other = project.settings.dumps / ".mine.going"
    other.mkdir()
    assert sorted(discover(project.settings.dumps)) == list(MONTHS[:2])
    apply(project, plan(project))
    assert sorted(path.name for path in project.settings.dumps.iterdir() if path.is_dir()) == [".mine.going", MONTHS[1]]


def test_a_fetch_that_has_begun_since_the_plan_keeps_its_folder(project_of: Callable[..., Project]) -> None:
    project = project_of(VALBENCH_KEEP_DUMPS="1", VALBENCH_KEEP_FACTS="1")
    for snapshot in MONTHS[:3]:
        fetched(project, snapshot)
        publish(project, snapshot, Pair)
    planned = plan(project)
    with (
        FileLock(project.settings.dumps / f".{MONTHS[0]}.lock"),
        pytest.raises(DumpFilesError, match=f"{MONTHS[0]}: a fetch has begun"),
    ):
        apply(project, planned)
    assert state_of(project.settings.dumps / MONTHS[0]) == "fetched"
    # Everything else was done.
    assert sorted(discover(project.settings.dumps)) == [MONTHS[0], MONTHS[2]]
    assert held(project) == {"pairs": [MONTHS[2]]}


def test_the_command_only_tells_unless_it_is_told_to_do_it(
    project_of: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VALBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("VALBENCH_ROSTER", str(project_file("roster.toml")))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    def run(*words: str) -> tuple[int, list[str]]:
        result = CliRunner().invoke(main, ["prune", *words], catch_exceptions=False)
        return result.exit_code, result.output.splitlines()

    project = project_of()
    for snapshot in MONTHS[:3]:
        fetched(project, snapshot, size=1_200_000)
    by_hand(project, "enwiki-20260101")
    assert run()[1][0] == "Everything is kept: neither VALBENCH_KEEP_DUMPS nor VALBENCH_KEEP_FACTS is set."
    monkeypatch.setenv("VALBENCH_KEEP_DUMPS", "1")
    code, told = run()
    assert code == 0
    reason = "older than the newest with dump files of its wiki (VALBENCH_KEEP_DUMPS)"
    assert [line.split(maxsplit=5) for line in told[:2]] == [
        [snapshot, "dump", "files", line.split()[3], "GB", reason]
        for snapshot, line in zip(MONTHS, told[:2], strict=False)
    ]
    assert "stays: placed by hand" in told[2]
    assert told[3].endswith("GB would go. Run: valbench prune --apply")
    assert len(discover(project.settings.dumps)) == 4

    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        started = dg.DagsterRunStatus.STARTED
        instance.add_run(dg.DagsterRun(job_name="rebuild_warehouse", run_id="building", status=started))
        instance.add_run(
            dg.DagsterRun(job_name="x", run_id="of-one", status=started, tags={"dagster/partition": MONTHS[0]})
        )
        assert "run building may be reading facts" in run("--apply")[1][-1]
        assert len(discover(project.settings.dumps)) == 4
        instance.delete_run("building")
        code, told = run("--apply")
    assert code == 0, told
    assert sorted(discover(project.settings.dumps)) == ["enwiki-20260101", MONTHS[0], MONTHS[2]], "a run is of one"
    assert "Run the job rebuild_warehouse" in told[-1]
