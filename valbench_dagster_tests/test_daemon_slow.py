"""The daemon at work: eight models at once, a new model, a new judge, a new dump, a killed run; one server for all.

The models are stand-ins behind a gate that the test opens, so that what must overlap does on any machine.
"""

import json
import os
import re
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from valbench_dagster.adapters.warehouse.build import read
from valbench_dagster.project_files import package_file, project_file
from valbench_dagster.records import Response, Verdict
from valbench_dagster.settings import read_settings
from valbench_dagster.steps.project import Project, open_project
from valbench_dagster_tests.chain import RESPONDENTS, SNAPSHOT
from valbench_dagster_tests.dagster_dev import DagsterDev, Run, dagster_dev
from valbench_dagster_tests.gated_stand_ins import Gate, gated_stand_ins
from valbench_dagster_tests.servers import environment, run, valbench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

JUDGES = ("stand-in-v3", "stand-in-released")
EVALUATION = ("responses", *(f"verdicts/{judge}" for judge in JUDGES))
MODELS = (*RESPONDENTS, "aligned-neutral", "opposed-terse")
ENDPOINT = """
[endpoint.gated]
base_url = "{url}"
provider = "stand-ins"
concurrency = 16
"""
MODEL = """
[[model]]
id = "{id}"
family = "stand-in"
endpoint = "gated"
model = "{model}"
system_prompt = "{prompt}"
temperature = 0.1
"""
PROMPTS = """
[system_prompt.terse]
text = "Answer in three sentences."

[system_prompt.plain]
text = "Answer in plain words."

[system_prompt.long]
text = "Answer at length."
"""
JUDGE = """
[judge.both-orders]
worker = "stand-in-judge"
prompt = "judge_v3"
orders = ["as_asked", "swapped"]
"""
LAUNCHED = MODEL.format(id="launched", model="stand-in-uninformed", prompt="plain")
NEWCOMER = MODEL.format(id="newcomer", model="stand-in-mixture", prompt="plain")
VICTIM = MODEL.format(id="victim", model="stand-in-aligned", prompt="long")


@dataclass(frozen=True, slots=True)
class Site:
    """A server, the gate before its models, and the files of its project."""

    server: DagsterDev
    gate: Gate
    roster: Path
    shipped: str

    @property
    def project(self) -> Project:
        """The project, with the roster as it is now."""
        return open_project(read_settings(self.server.env))

    def edit_roster(self, *additions: str) -> None:
        """Write the roster with entries added to the eight models, and press "Reload definitions"."""
        self.roster.write_text("".join([self.shipped, *additions]), encoding="utf-8")
        self.server.reload()

    def calls(self, run_id: str | None = None) -> list[tuple[str, str, str]]:
        """Give run, model and fingerprint of the calls in the ledger; all of them or those of a run."""
        with sqlite3.connect(self.project.settings.home / "ledger.sqlite") as ledger:
            rows = ledger.execute("SELECT run, model, fingerprint FROM calls ORDER BY id").fetchall()
        return [row for row in rows if run_id in (None, row[0])]

    def table(self, name: str) -> pl.DataFrame:
        """Give a table of the warehouse."""
        with read(self.project.settings.warehouse) as warehouse:
            return warehouse.table(name).pl()

    def launch(self, job: str, **tags: str) -> Run:
        """Run `dagster job launch` as the README has it; gives the run it started, once there is one."""
        before = {each.run_id for each in self.server.runs()}
        self.server.command("dagster", "job", "launch", "-j", job, "--tags", json.dumps(tags))
        [started] = [each for each in self.server.runs() if each.run_id not in before and each.job == job]
        return started

    def finished(self, run_id: str) -> Run:
        """Wait for the end of a run; gives it as it ended."""

        def look() -> Run | None:
            [found] = self.server.runs(runIds=[run_id])
            return found if found.end else None

        return self.server.wait_for(f"end of run {run_id}", look, 300)

    def rebuilds(self, since: float) -> list[Run]:
        """Give the runs created since a time that build the warehouse."""
        return [each for each in self.server.runs() if each.created >= since and "warehouse/metrics" in each.assets]

    def rebuilt(self, since: float) -> list[Run]:
        """Wait for the rebuild that follows facts published since a time, and for one more look of the automation."""

        def look() -> list[Run] | None:
            found = self.rebuilds(since)
            return found if found and all(each.end for each in found) else None

        def looked() -> bool:
            return self.server.ticks("warehouse_follows_facts")[0] > (done[0].end or 0)

        done = self.server.wait_for("rebuild of the warehouse", look)
        self.server.wait_for("next look of the automation", looked)
        return self.rebuilds(since)


def of(model: str) -> dict[str, str]:
    """Give the tags that make a run one of a model and the sample."""
    return {
        "dagster/partition": f"{model}|{SNAPSHOT}",
        "dagster/partition/model": model,
        "dagster/partition/snapshot": SNAPSHOT,
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("daemon")
    workers, models, rest = project_file("roster.toml").read_text(encoding="utf-8").partition("\n[[model]]\n")
    with gated_stand_ins() as (url, gate):
        shipped = "".join(
            [
                workers,
                ENDPOINT.format(url=url),
                models,
                rest.replace('endpoint = "stand-ins"', 'endpoint = "gated"'),
                MODEL.format(id="aligned-neutral", model="stand-in-aligned", prompt="neutral"),
                MODEL.format(id="opposed-terse", model="stand-in-opposed", prompt="terse"),
                PROMPTS,
            ]
        )
        roster = root / "roster.toml"
        roster.write_text(shipped, encoding="utf-8")
        with dagster_dev(root, roster) as server:
            yield Site(server, gate, roster, shipped)


@pytest.fixture(scope="module")
def dataset(site: Site) -> Site:
    """The site with the pairs of the sample, made by the README's command."""
    made = site.finished(site.launch("refresh_dataset", **{"dagster/partition": SNAPSHOT}).run_id)
    assert made.status == "SUCCESS", site.server.events(made.run_id)
    site.rebuilt(made.created)
    return site


@dataclass(frozen=True, slots=True)
class Backfill:
    """What the backfill of the eight models did."""

    runs: tuple[Run, ...]
    rebuilds: tuple[Run, ...]


@pytest.fixture(scope="module")
def eight(dataset: Site) -> Backfill:
    """The eight models backfilled as from the page of the job; no call is answered before all eight have called."""
    server = dataset.server
    dataset.gate.hold_until(len(MODELS))
    backfill = server.backfill("evaluate_model", EVALUATION, [f"{model}|{SNAPSHOT}" for model in MODELS])

    def look() -> list[Run] | None:
        runs = server.runs_of_backfill(backfill)
        return runs if len(runs) >= len(MODELS) and all(each.end for each in runs) else None

    runs = server.wait_for("end of the eight runs", look, 420)
    dataset.gate.open()
    return Backfill(tuple(runs), tuple(dataset.rebuilt(min(each.created for each in runs))))


def test_eight_models_are_evaluated_at_the_same_time_and_all_succeed(
    eight: Backfill, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Counter(each.status for each in eight.runs) == {"SUCCESS": len(MODELS)}
    starts, ends = [each.start or 0.0 for each in eight.runs], [each.end or 0.0 for each in eight.runs]
    first = min(starts)
    with capsys.disabled():
        sys.stdout.write("\nseconds after the first start:\n")
        for each in sorted(eight.runs, key=lambda each: each.start or 0.0):
            times = f"{(each.start or 0.0) - first:6.1f} to {(each.end or 0.0) - first:6.1f}"
            sys.stdout.write(f"  {times}  {each.partition}\n")
    assert max(starts) < min(ends), "every run started before any had ended"


def test_none_of_the_eight_was_retried_or_stopped_by_a_lock(dataset: Site, eight: Backfill) -> None:
    assert sorted(each.partition or "" for each in eight.runs) == sorted(f"{model}|{SNAPSHOT}" for model in MODELS)
    assert [each.tags for each in eight.runs if "dagster/parent_run_id" in each.tags] == []
    said = [message for each in eight.runs for message in dataset.server.events(each.run_id)]
    printed = [
        path.read_text(encoding="utf-8", errors="replace")
        for path in (dataset.project.settings.home / "dagster" / "storage").rglob("*.err")
    ]
    assert [text for text in (*said, *printed) if re.search(r"locked|Conflicting lock|retry|retried", text)] == []


def test_the_warehouse_is_rebuilt_once_after_the_eight_and_has_them_all(dataset: Site, eight: Backfill) -> None:
    assert [each.status for each in eight.rebuilds] == ["SUCCESS"]
    assert (eight.rebuilds[0].start or 0.0) > max(each.end or 0.0 for each in eight.runs)
    board = dataset.table("leaderboard")
    assert set(board["model"]) == set(MODELS)
    assert set(board["coverage"]) == {1.0}


def test_the_checks_of_every_asset_passed(dataset: Site, eight: Backfill) -> None:
    for asset in ("sections", "issues", "candidate_pairs", "pairs", *EVALUATION):
        assert set(dataset.server.checks(asset).values()) == {"SUCCEEDED"}, asset


def test_a_new_model_is_missing_alone_and_only_it_is_asked(dataset: Site, eight: Backfill) -> None:
    tables = ("responses", "verdicts", "pair_scores", "metrics")
    before = {name: dataset.table(name) for name in tables}
    # Runs at the same time may ask a judge the same: rows may be more than fingerprints.
    rows, known = len(dataset.calls()), {fingerprint for _, _, fingerprint in dataset.calls()}
    dataset.edit_roster(NEWCOMER)
    key = f"newcomer|{SNAPSHOT}"
    for asset in EVALUATION:
        keys, there = dataset.server.partitions(asset)
        assert keys - there == {key}, asset

    backfill = dataset.server.backfill("evaluate_model", EVALUATION, [key])
    [started] = dataset.server.wait_for("run of the new model", lambda: dataset.server.runs_of_backfill(backfill))
    assert dataset.finished(started.run_id).status == "SUCCESS"
    dataset.rebuilt(started.created)

    project = dataset.project
    own = {row.fingerprint for row in project.facts.rows(Response, f"{SNAPSHOT}/newcomer")}
    for judge in JUDGES:
        own |= {
            row.fingerprint for row in project.facts.rows(Verdict, f"{SNAPSHOT}/newcomer/{judge}") if row.fingerprint
        }
    asked = [fingerprint for _, _, fingerprint in dataset.calls(started.run_id)]
    # It says, word for word, what the mixture under the paper's prompt said: both judges have been asked that before.
    assert set(asked) == own - known
    assert len(asked) == len(set(asked)) == 2 * before["pair_scores"]["pair_id"].n_unique()
    assert len(dataset.calls()) == rows + len(asked)
    for name in tables:
        others = dataset.table(name).filter(pl.col("model") != "newcomer")
        columns = sorted(others.columns)
        assert others.select(columns).sort(columns).equals(before[name].select(columns).sort(columns)), name
    assert "newcomer" in set(dataset.table("leaderboard")["model"])


def test_a_new_judge_is_missing_everywhere_and_touches_nobody_else(dataset: Site, eight: Backfill) -> None:
    before = {asset: dataset.server.partitions(asset)[1] for asset in EVALUATION}
    calls = len(dataset.calls())
    dataset.edit_roster(NEWCOMER, JUDGE)
    keys, there = dataset.server.partitions("verdicts/both-orders")
    assert keys == {f"{model}|{SNAPSHOT}" for model in (*MODELS, "newcomer")}
    assert not there
    assert {asset: dataset.server.partitions(asset)[1] for asset in EVALUATION} == before
    assert len(dataset.calls()) == calls


def test_the_commands_of_the_readme_launch_what_they_say(dataset: Site, eight: Backfill) -> None:
    dataset.edit_roster(LAUNCHED)
    launched = dataset.launch("evaluate_model", **of("launched"))
    before = {each.run_id for each in dataset.server.runs()}
    keys = [f"aligned|{SNAPSHOT}", f"opposed|{SNAPSHOT}"]
    options = ("-j", "evaluate_model", "--partitions", ",".join(keys), "--noprompt")
    dataset.server.command("dagster", "job", "backfill", *options)
    filled = [each for each in dataset.server.runs() if each.run_id not in before and each.job == "evaluate_model"]
    assert sorted(each.partition or "" for each in filled) == keys
    for each in (launched, *filled):
        assert dataset.finished(each.run_id).status == "SUCCESS", dataset.server.events(each.run_id)
        if each in filled:
            assert dataset.calls(each.run_id) == [], "all of it had been asked before"
    for asset in EVALUATION:
        assert f"launched|{SNAPSHOT}" in dataset.server.partitions(asset)[1], asset


def test_assets_are_materialised_by_command_without_a_server(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "work"
    env = {
        **environment(home, project_file("roster.toml")),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PATH": os.environ["PATH"],
    }
    run([valbench(), "prepare"], folder, env, "prepare")
    # `.env` in the folder, written by `prepare`, is how the command finds the instance: the environment has no word.
    dagster = (Path(valbench()).with_name("dagster"), "asset", "materialize", "-m", "valbench_dagster.definitions")
    run([*dagster, "--select", "group:source or group:dataset", "--partition", SNAPSHOT], folder, env, "pairs")
    run([*dagster, "--select", "responses", "--partition", f"aligned|{SNAPSHOT}"], folder, env, "responses")
    project = open_project(read_settings(env))
    assert {row.outcome for row in project.facts.rows(Response, f"{SNAPSHOT}/aligned")} == {"answered"}


def test_a_dump_dropped_into_the_folder_is_refreshed_once_and_costs_nothing_where_its_text_is_known(
    dataset: Site,
) -> None:
    server, key = dataset.server, "sample-20260201"
    [dump] = package_file("sample").glob("*.xml")
    calls = len(dataset.calls())

    def refreshes() -> list[Run]:
        return [each for each in server.runs() if each.job == "refresh_dataset" and each.partition == key]

    server.switch("local_dumps", on=True)
    try:
        server.command("valbench", "snapshot", "add", key, str(dump))
        [started] = server.wait_for("refresh of the new dump", refreshes)
        done = dataset.finished(started.run_id)
        assert done.status == "SUCCESS", server.events(done.run_id)
        server.wait_for("next look into the folder", lambda: server.ticks("local_dumps")[0] > (done.end or 0))
    finally:
        server.switch("local_dumps", on=False)
    assert [each.run_id for each in refreshes()] == [started.run_id]
    assert key in server.partitions("pairs")[1]
    assert len(dataset.calls()) == calls


def test_a_killed_run_is_run_again_and_pays_for_nothing_twice(dataset: Site) -> None:
    server, stored = dataset.server, 40
    dataset.edit_roster(VICTIM)
    dataset.gate.hold_after(stored)
    killed = dataset.launch("evaluate_model", **of("victim"))
    server.wait_for("forty stored calls", lambda: len(dataset.calls(killed.run_id)) == stored)
    [pid] = {
        int(found[1]) for message in server.events(killed.run_id) if (found := re.search(r"\(pid: (\d+)\)", message))
    }
    assert os.getpgid(pid) == server.process.pid, "the process is one that this test has started"
    os.kill(pid, signal.SIGKILL)
    assert dataset.finished(killed.run_id).status == "FAILURE"
    dataset.gate.open()

    def retries() -> list[Run]:
        return [each for each in server.runs() if each.tags.get("dagster/parent_run_id") == killed.run_id]

    [again] = server.wait_for("automatic second run", retries)
    done = dataset.finished(again.run_id)
    assert done.status == "SUCCESS", server.events(done.run_id)
    responses = {row.fingerprint for row in dataset.project.facts.rows(Response, f"{SNAPSHOT}/victim")}
    first = [fingerprint for _, _, fingerprint in dataset.calls(killed.run_id)]
    second = [fingerprint for _, model, fingerprint in dataset.calls(again.run_id) if model == "stand-in-aligned"]
    assert len(first) == stored
    assert Counter(first + second) == dict.fromkeys(responses, 1), "every response was paid for once"
