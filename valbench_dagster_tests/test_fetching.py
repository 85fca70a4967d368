"""Fetching, where settings, catalogue and facts meet: what is due, what is refused, what a refresh pays for."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from valbench_dagster.cli import main
from valbench_dagster.dumps.catalogue import Offer
from valbench_dagster.dumps.fetch import FetchError
from valbench_dagster.dumps.fetch_progress import FetchProgress
from valbench_dagster.dumps.files import add_snapshot, sha256_of, state_of
from valbench_dagster.dumps.names import DumpFilesError
from valbench_dagster.orchestration.progress import TAGS_EVERY, FetchRunProgress
from valbench_dagster.project_files import project_file
from valbench_dagster.records import DumpFile, Pair, Section
from valbench_dagster.report.dump_lines import fetch_line
from valbench_dagster.settings import read_settings
from valbench_dagster.steps.fetching import due, fetch_snapshot, look_for_dumps, offers, open_source
from valbench_dagster.steps.project import Project, open_project
from valbench_dagster.steps.source import publish_dump, publish_sections
from valbench_dagster_tests.chain import make_dataset
from valbench_dagster_tests.dump_content import classic_snapshot, exports_snapshot, single_stream
from valbench_dagster_tests.dump_lists import sums
from valbench_dagster_tests.dump_server import DumpServerHandle, StallAfter, Status, dump_server
from valbench_dagster_tests.followed_wiki import FIRST, FIRST_KEY, SECOND, SECOND_KEY, WIKI, first_pages, second_pages
from valbench_dagster_tests.homes import Home

CONTACT = "me@example.org"
FIRST_FILES = classic_snapshot(WIKI, FIRST, first_pages(), numbers=(1, 2), pages_a_stream=3)
SECOND_FILES = classic_snapshot(WIKI, SECOND, second_pages(), numbers=(1, 2), pages_a_stream=3)


@pytest.fixture
def server() -> Iterator[DumpServerHandle]:
    with dump_server() as handle:
        yield handle


@pytest.fixture
def project_of(tmp_path: Path, server: DumpServerHandle) -> Callable[..., Project]:
    def make(**variables: str) -> Project:
        env = {
            "VALBENCH_HOME": str(tmp_path / "home"),
            "VALBENCH_ROSTER": str(project_file("roster.toml")),
            "VALBENCH_DUMP_SERVER": server.url,
            "VALBENCH_CONTACT": CONTACT,
        }
        return open_project(read_settings({**env, **variables}))

    return make


def lay_down(server: DumpServerHandle, layout: str) -> None:
    """Lay both dumps of the wiki down in a layout."""
    for day, pages in ((FIRST, first_pages()), (SECOND, second_pages())):
        if layout == "classic":
            server.add_classic(WIKI, day, classic_snapshot(WIKI, day, pages, numbers=(1, 2), pages_a_stream=3))
        else:
            server.add_exports(WIKI, day, exports_snapshot(WIKI, day, pages))


@pytest.mark.parametrize("layout", ["classic", "exports"])
def test_a_refresh_pays_for_changed_and_new_sections_alone(
    layout: str, server: DumpServerHandle, project_of: Callable[..., Project]
) -> None:
    lay_down(server, layout)
    project = project_of()
    first = make_dataset(project, FIRST_KEY)
    # Of 13 sections in the first dump the stand-in calls 11 divergent: 13 annotations, 11 pairs written.
    assert [first[step].pointer.rows for step in ("sections", "issues", "candidate_pairs", "pairs")] == [13, 13, 11, 11]
    home = Home(project.settings.home)
    paid = len(home.asked())
    assert paid == 13 + 11
    second = make_dataset(project, SECOND_KEY)
    # One section has changed and one is new, both divergent; a page edited elsewhere has its section's text as before.
    assert [second[step].pointer.rows for step in ("sections", "issues", "candidate_pairs", "pairs")] == [
        14,
        14,
        12,
        12,
    ]
    assert len(home.asked()) == paid + 2 + 2
    sections = {key: {row.section_id for row in project.facts.rows(Section, key)} for key in (FIRST_KEY, SECOND_KEY)}
    new = [row for row in project.facts.rows(Section, SECOND_KEY) if row.section_id not in sections[FIRST_KEY]]
    assert [row.title for row in new] == ["Harlow Bridge", "Orrin Weir"]
    pairs = {key: {row.pair_id for row in project.facts.rows(Pair, key)} for key in (FIRST_KEY, SECOND_KEY)}
    assert len(pairs[FIRST_KEY] & pairs[SECOND_KEY]) == 10, "the pairs of unchanged sections keep their ids"
    asked = [fingerprint for fingerprint, _, _ in home.asked()]
    assert len(set(asked)) == len(asked), "nothing was paid for twice"
    # Once more: neither the server nor a model is asked.
    server.forget()
    again = make_dataset(project, SECOND_KEY)
    assert not any(report.fresh for report in again.values())
    assert (server.requests, len(home.asked())) == ([], paid + 4)


@pytest.mark.parametrize("layout", ["classic", "exports"])
def test_the_dump_is_fetched_and_described_by_its_manifest(
    layout: str, server: DumpServerHandle, project_of: Callable[..., Project]
) -> None:
    lay_down(server, layout)
    project = project_of(VALBENCH_DUMP_SOURCE=layout)
    told: list[FetchProgress] = []
    report = publish_dump(project, FIRST_KEY, progress=told.append)
    rows = list(project.facts.rows(DumpFile, FIRST_KEY))
    assert [(row.layout, row.verified, row.part) for row in rows] == [(layout, True, 0), (layout, True, 1)]
    for row in rows:
        lies = project.settings.dumps / row.path
        assert (row.bytes, row.sha256) == (lies.stat().st_size, sha256_of(lies))
    assert report.counts == {"files": 2, "bytes": sum(row.bytes for row in rows)}
    assert told[-1].parts_done == told[-1].parts_total
    for request in server.requests:
        assert CONTACT in request.headers["user-agent"]


def test_files_of_a_manifest_are_hashed_again_only_where_they_were_written_to(
    server: DumpServerHandle, project_of: Callable[..., Project]
) -> None:
    lay_down(server, "classic")
    project = project_of()
    publish_dump(project, FIRST_KEY)
    row = next(project.facts.rows(DumpFile, FIRST_KEY))
    path = project.settings.dumps / row.path
    before = path.stat()
    path.write_bytes(bytes(row.bytes))
    # A time before the manifest's is believed: 27 GB are not read for nothing.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not publish_dump(project, FIRST_KEY).fresh
    os.utime(path, (before.st_atime + 3600, before.st_mtime + 3600))
    with pytest.raises(DumpFilesError, match=rf"was changed: expected SHA-256 {row.sha256}, found"):
        publish_dump(project, FIRST_KEY)


def test_a_file_that_was_touched_and_not_changed_is_what_it_was(
    server: DumpServerHandle, project_of: Callable[..., Project]
) -> None:
    lay_down(server, "classic")
    project = project_of()
    publish_dump(project, FIRST_KEY)
    for path in (project.settings.dumps / FIRST_KEY).glob("*.xml*"):
        os.utime(path, (path.stat().st_atime + 3600, path.stat().st_mtime + 3600))
    assert not publish_dump(project, FIRST_KEY).fresh


def test_a_file_among_fetched_ones_that_was_not_fetched_is_refused(
    server: DumpServerHandle, project_of: Callable[..., Project]
) -> None:
    lay_down(server, "classic")
    project = project_of()
    publish_dump(project, FIRST_KEY)
    (project.settings.dumps / FIRST_KEY / "mine.xml").write_bytes(b"<mediawiki/>")
    with pytest.raises(DumpFilesError, match=r"mine\.xml was not fetched with the others: move it away"):
        publish_dump(project, FIRST_KEY)


def test_a_fetch_that_broke_off_goes_on_with_what_is_missing(
    server: DumpServerHandle, project_of: Callable[..., Project]
) -> None:
    lay_down(server, "classic")
    project, folder = project_of(VALBENCH_DUMP_CONNECTIONS="1"), f"/{WIKI}/{FIRST:%Y%m%d}/"
    [second] = [name for name in FIRST_FILES if "multistream2" in name]
    server.script(folder + second, Status(403))
    with pytest.raises(FetchError, match="403"):
        publish_dump(project, FIRST_KEY)
    assert state_of(project.settings.dumps / FIRST_KEY) == "unfinished"
    assert project.facts.current(DumpFile, FIRST_KEY) is None
    came = {path.name for path in (project.settings.dumps / FIRST_KEY).glob("*.bz2")}
    server.forget()
    publish_dump(project, FIRST_KEY)
    asked = {request.path.removeprefix(folder) for request in server.requests}
    assert asked == FIRST_FILES.keys() - came | {"dumpstatus.json"}
    assert state_of(project.settings.dumps / FIRST_KEY) == "fetched"


def test_a_file_that_was_lost_is_fetched_again(server: DumpServerHandle, project_of: Callable[..., Project]) -> None:
    lay_down(server, "classic")
    project = project_of()
    publish_dump(project, FIRST_KEY)
    (lost, *_) = (project.settings.dumps / FIRST_KEY).glob("*multistream1.xml*")
    lost.unlink()
    assert state_of(project.settings.dumps / FIRST_KEY) == "unfinished"
    assert not publish_dump(project, FIRST_KEY).fresh
    assert lost.is_file()


def test_a_folder_keeps_the_layout_that_it_was_begun_in(
    server: DumpServerHandle, project_of: Callable[..., Project]
) -> None:
    lay_down(server, "classic")
    project = project_of(VALBENCH_DUMP_CONNECTIONS="1")
    [second] = [name for name in FIRST_FILES if "multistream2" in name]
    server.script(f"/{WIKI}/{FIRST:%Y%m%d}/{second}", Status(403))
    with pytest.raises(FetchError):
        publish_dump(project, FIRST_KEY)
    # Now only the other layout has a complete snapshot of that date: other revisions, so it is not taken.
    server.add_exports(WIKI, FIRST, exports_snapshot(WIKI, FIRST, first_pages()))
    server.set_status(WIKI, FIRST, "in-progress")
    assert [each.layout for each in offers(project, WIKI) if each.snapshot == FIRST_KEY] == ["exports"]
    with pytest.raises(DumpFilesError, match=r"is not complete at its source \(classic\): .*in-progress"):
        publish_dump(project, FIRST_KEY)
    with pytest.raises(DumpFilesError, match=r"was begun from a dump server \(classic\), and VALBENCH_DUMP_SOURCE"):
        publish_dump(project_of(VALBENCH_DUMP_SOURCE=str(project.settings.home)), FIRST_KEY)
    server.set_status(WIKI, FIRST, "done")
    # The settings restrict what is new to the other layout; what was begun goes on all the same.
    publish_dump(project_of(VALBENCH_DUMP_SOURCE="exports"), FIRST_KEY)
    assert {row.layout for row in project.facts.rows(DumpFile, FIRST_KEY)} == {"classic"}


def test_what_cannot_be_fetched_is_refused_in_a_sentence(
    server: DumpServerHandle, project_of: Callable[..., Project]
) -> None:
    server.add_classic(WIKI, FIRST, FIRST_FILES, status="in-progress")
    project = project_of()
    with pytest.raises(DumpFilesError, match=rf"not complete(.|\n)*Run: valbench snapshot offers --wiki {WIKI}"):
        fetch_snapshot(project, FIRST_KEY)
    with pytest.raises(DumpFilesError, match=rf"{SECOND_KEY} is not offered by its source \(auto\)"):
        fetch_snapshot(project, SECOND_KEY)
    with pytest.raises(DumpFilesError, match="is no snapshot key"):
        fetch_snapshot(project, "EnWiki")
    before = len(server.requests)
    with pytest.raises(DumpFilesError, match=rf"VALBENCH_CONTACT(.|\n)*valbench snapshot add {FIRST_KEY} FILE"):
        fetch_snapshot(project_of(VALBENCH_CONTACT=""), FIRST_KEY)
    assert len(server.requests) == before
    assert not project.settings.dumps.exists(), "nothing was begun"


def test_a_dump_placed_by_hand_is_taken_as_it_is_and_nothing_is_asked(
    server: DumpServerHandle, project_of: Callable[..., Project], tmp_path: Path
) -> None:
    lay_down(server, "classic")
    project = project_of()
    given = tmp_path / "mine.xml.bz2"
    given.write_bytes(single_stream(first_pages()))
    add_snapshot(project.settings.dumps, FIRST_KEY, [given])
    publish_dump(project, FIRST_KEY)
    [row] = project.facts.rows(DumpFile, FIRST_KEY)
    assert (row.name, row.layout, row.verified) == ("mine.xml.bz2", "folder", False)
    with pytest.raises(DumpFilesError, match="was placed by hand"):
        fetch_snapshot(project, FIRST_KEY)
    # A copy under way is no broken fetch.
    (project.settings.dumps / FIRST_KEY / "more.xml.part").touch()
    with pytest.raises(DumpFilesError, match=r"is not whole: .* holds more\.xml\.part"):
        publish_dump(project, FIRST_KEY)
    assert server.requests == []


def test_pruned_files_are_not_fetched_again_while_their_sections_are_published(
    server: DumpServerHandle, project_of: Callable[..., Project]
) -> None:
    lay_down(server, "classic")
    project = project_of()
    published = publish_dump(project, FIRST_KEY)
    publish_sections(project, FIRST_KEY)
    shutil.rmtree(project.settings.dumps / FIRST_KEY)
    server.forget()
    again = publish_dump(project, FIRST_KEY)
    assert (again.fresh, again.pointer, again.counts) == (False, published.pointer, published.counts)
    assert not publish_sections(project, FIRST_KEY).fresh
    assert server.requests == []
    # Without the sections they are needed.
    project.facts.withdraw(Section, FIRST_KEY)
    publish_dump(project, FIRST_KEY)
    assert server.requests


def test_a_store_needs_no_contact_and_is_a_folder_of_somebody_s(
    project_of: Callable[..., Project], tmp_path: Path
) -> None:
    files = exports_snapshot(WIKI, FIRST, first_pages())
    store = tmp_path / "store" / FIRST_KEY
    store.mkdir(parents=True)
    for name, data in {**files, "SHA256SUMS": sums(files, "sha256")}.items():
        (store / name).write_bytes(data)
    project = project_of(VALBENCH_DUMP_SOURCE=str(store.parent), VALBENCH_CONTACT="")
    publish_dump(project, FIRST_KEY)
    assert {(row.layout, row.verified) for row in project.facts.rows(DumpFile, FIRST_KEY)} == {("folder", True)}
    assert [offer.snapshot for offer in look_for_dumps(project, {}).due] == [FIRST_KEY]


def due_of(project: Project, known: list[str]) -> Offer | None:
    with open_source(project) as source:
        return due(source.catalogue, WIKI, known)


def test_the_newest_complete_dump_is_due_and_no_older_one(
    server: DumpServerHandle, project_of: Callable[..., Project]
) -> None:
    # Of four dumps the newest is being made: the one before it is due, and the two before that never are.
    for month in (8, 9, 10):
        server.add_classic(WIKI, date(2026, month, 1), FIRST_FILES if month == 10 else {})
    server.add_classic(WIKI, SECOND, SECOND_FILES, status="in-progress")
    project = project_of()
    found = due_of(project, [])
    assert found is not None
    assert found.snapshot == FIRST_KEY
    assert due_of(project, [FIRST_KEY]) is None
    server.set_status(WIKI, SECOND, "done")
    found = due_of(project, [FIRST_KEY])
    assert found is not None
    assert found.snapshot == SECOND_KEY
    assert due_of(project, [FIRST_KEY, SECOND_KEY]) is None
    assert due_of(project, ["dewiki-20261201", "enwiki-20270101"]) is None
    # Another wiki's snapshots say nothing about this one.
    assert due_of(project, ["dewiki-20261201"]) is not None


def test_a_look_that_finds_nothing_new_reads_two_directory_pages(
    server: DumpServerHandle, project_of: Callable[..., Project]
) -> None:
    lay_down(server, "classic")
    assert due_of(project_of(), [SECOND_KEY]) is None
    assert [request.path for request in server.requests] == [
        f"/{WIKI}/",
        f"/other/mediawiki_content_current/{WIKI}/",
    ]


def test_what_has_pairs_is_not_looked_for(server: DumpServerHandle, project_of: Callable[..., Project]) -> None:
    lay_down(server, "classic")
    project = project_of()
    project.facts.publish(Pair, SECOND_KEY, [], input_fingerprint="x")
    assert look_for_dumps(project, {}).due == ()
    project.facts.withdraw(Pair, SECOND_KEY)
    assert [offer.snapshot for offer in look_for_dumps(project, {}).due] == [SECOND_KEY]
    assert look_for_dumps(project, {WIKI: "20261101"}).due == ()


def test_a_wiki_in_trouble_keeps_no_other_from_being_looked_at(
    server: DumpServerHandle, project_of: Callable[..., Project]
) -> None:
    lay_down(server, "classic")
    server.script("/dewiki/", Status(403))
    look = look_for_dumps(project_of(VALBENCH_WIKIS="dewiki, enwiki, Bad Name"), {})
    assert [offer.snapshot for offer in look.due] == [SECOND_KEY]
    refused, unknown = look.troubles
    assert refused.startswith("dewiki: ")
    assert "403" in refused
    assert "'Bad Name' is no wiki" in unknown


def test_trouble_with_the_source_is_told_and_not_raised(
    server: DumpServerHandle, project_of: Callable[..., Project]
) -> None:
    settings: Mapping[str, str]
    for settings, said in (
        ({"VALBENCH_CONTACT": ""}, "set VALBENCH_CONTACT"),
        ({"VALBENCH_DUMP_SERVER": "http://dumps.example.org"}, "is refused: expected https"),
        ({"VALBENCH_DUMP_SOURCE": "nowhere/at-all"}, "there is no such folder"),
        ({"VALBENCH_DUMP_SERVER": "http://127.0.0.1:9"}, "gave up after 2 failed tries"),
    ):
        look = look_for_dumps(project_of(**settings), {})
        assert look.due == ()
        [trouble] = look.troubles
        assert said in trouble


def test_a_server_that_does_not_answer_is_given_up(
    server: DumpServerHandle, project_of: Callable[..., Project]
) -> None:
    lay_down(server, "classic")
    server.script(f"/{WIKI}/", StallAfter(1))
    look = look_for_dumps(project_of(), {}, within_s=0.6)
    assert look.troubles == ("the source auto has not answered within 1 s",)


def test_offers_say_what_is_not_complete_and_why(server: DumpServerHandle, project_of: Callable[..., Project]) -> None:
    server.add_classic(WIKI, FIRST, FIRST_FILES)
    server.add_classic(WIKI, SECOND, SECOND_FILES, status="waiting")
    newest, before = offers(project_of(), WIKI)
    assert (newest.snapshot, newest.complete) == (SECOND_KEY, False)
    assert (before.snapshot, before.complete) == (FIRST_KEY, True)
    assert [each.snapshot for each in offers(project_of(), WIKI, newest=1)] == [SECOND_KEY]
    assert offers(project_of(), "frwiki") == []


def test_the_command_lists_offers_fetches_one_and_says_that_it_is_there(
    server: DumpServerHandle, project_of: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.add_classic(WIKI, FIRST, FIRST_FILES)
    server.add_classic(WIKI, SECOND, SECOND_FILES, status="in-progress")
    for name, value in (
        ("VALBENCH_HOME", str(tmp_path / "home")),
        ("VALBENCH_ROSTER", str(project_file("roster.toml"))),
        ("VALBENCH_DUMP_SERVER", server.url),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.delenv("VALBENCH_CONTACT", raising=False)

    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["snapshot", *words], catch_exceptions=False)
        return result.exit_code, result.output

    code, said = run("offers")
    assert (code, "set VALBENCH_CONTACT" in said) == (1, True)
    monkeypatch.setenv("VALBENCH_CONTACT", CONTACT)
    code, said = run("offers")
    heading, newest, before = said.splitlines()
    assert heading.split() == ["snapshot", "layout", "files", "GB", "state"]
    assert newest.startswith(SECOND_KEY)
    assert "not complete: Job articlesmultistreamdump is still being written (status in-progress)" in newest
    size = sum(len(data) for name, data in FIRST_FILES.items() if "index" not in name)
    assert before.split() == [FIRST_KEY, "classic", "2", f"{size / 1e9:.6f}", "complete"]
    assert "Error: Snapshot" in run("fetch", SECOND_KEY)[1]
    code, said = run("fetch", FIRST_KEY)
    assert code == 0
    assert f"{FIRST_KEY} is whole: 4 files" in said
    assert "4 of them fetched now, 4 compared with a published hash" in said
    assert "0 of them fetched now" in run("fetch", FIRST_KEY)[1]
    assert run("offers")[1].splitlines()[2].endswith("complete (here: fetched)")
    # It is a partition from now on.
    with dg.DagsterInstance.from_config(str(tmp_path / "home" / "dagster")) as instance:
        assert instance.get_dynamic_partitions("snapshot") == [FIRST_KEY]


PROGRESS = FetchProgress(
    bytes_done=12_300_000_000,
    bytes_total=25_000_000_000,
    bytes_per_second=15_700_000.0,
    seconds_left=809.0,
    parts_done=7,
    parts_total=62,
    waiting=None,
    mirror_misses=0,
)


def test_a_line_of_progress_has_bytes_speed_time_and_files() -> None:
    assert fetch_line(PROGRESS) == "12.3 of 25.0 GB (49 %), 15.7 MB/s, 13 min left, 7 of 62 files"
    waits = replace(
        PROGRESS, bytes_total=None, bytes_per_second=None, seconds_left=None, waiting="busy", mirror_misses=2
    )
    assert fetch_line(waits) == "12.3 GB, 7 of 62 files, 2 not from the mirror; busy"


def test_a_run_that_fetches_shows_how_far_it_is_as_tags() -> None:
    now = [0.0]

    @dg.asset
    def dump(context: dg.AssetExecutionContext) -> None:
        watch = FetchRunProgress(context, clock=lambda: now[0])
        watch(PROGRESS)
        assert "progress" not in _tags(context)
        now[0] = TAGS_EVERY
        watch(PROGRESS)
        assert _tags(context)["progress"] == "dump 12.3/25.0 GB"
        assert _tags(context)["time_left"] == "13 min"
        watch(replace(PROGRESS, bytes_done=25_000_000_000, seconds_left=0.0))
        watch.close()
        assert _tags(context)["progress"] == "dump 25.0/25.0 GB"

    def _tags(context: dg.AssetExecutionContext) -> Mapping[str, str]:
        run = context.instance.get_run_by_id(context.run.run_id)
        return dict(run.tags) if run else {}

    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([dump], instance=instance).success
