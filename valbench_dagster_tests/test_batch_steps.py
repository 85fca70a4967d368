"""A step whose endpoint is a provider's Batch API: from the roster to published rows, and a batch stopped by hand."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.cli import main
from valbench_dagster.llm.ledger import BatchEvent
from valbench_dagster.llm.tally import Progress
from valbench_dagster.project_files import project_file
from valbench_dagster.records import Response
from valbench_dagster.settings import read_settings
from valbench_dagster.steps.evaluation import publish_responses
from valbench_dagster.steps.project import Project, open_project
from valbench_dagster_tests.batch_provider import BatchProvider
from valbench_dagster_tests.batch_server import KEY, BatchServer
from valbench_dagster_tests.chain import SNAPSHOT, make_dataset, unwatched
from valbench_dagster_tests.served_apps import serving


def project_at(folder: Path, url: str) -> Project:
    """Open a project with one more model, which is asked in batches of 40."""
    text = project_file("roster.toml").read_text(encoding="utf-8")
    text += f'\n[endpoint.lab]\nbase_url = "{url}"\nprovider = "lab"\nkey_env = "LAB_KEY"\nbatch = true\n'
    text += "batch_requests = 40\nbatch_poll_s = 0.02\nprice_out = 1000000.0\n"
    text += '\n[[model]]\nid = "batched"\nendpoint = "lab"\nmodel = "m"\n'
    (folder / "roster.toml").write_text(text, encoding="utf-8")
    home, roster = str(folder / "home"), str(folder / "roster.toml")
    return open_project(read_settings({"VALBENCH_HOME": home, "VALBENCH_ROSTER": roster}))


def test_a_step_asks_in_batches_and_publishes_what_they_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KEY", KEY)
    server = BatchServer(BatchProvider())
    with serving(server.app) as url:
        project = project_at(tmp_path, url)
        pairs = make_dataset(project)["pairs"].pointer.rows
        seen: list[Progress] = []
        report = publish_responses(project, SNAPSHOT, "batched", "run", seen.append)
        assert report.counts == {"answered": 2 * pairs}
        rows = list(project.facts.rows(Response, f"{SNAPSHOT}/batched"))
        assert all((row.text or "").startswith("echo of ") for row in rows)
        # 94 requests over files of 40.
        assert [len(ids) for ids in server.provider.custom_ids()] == [40, 40, 14]
        assert seen[-1].done == 2 * pairs

        # At half of 1.00 a token.
        assert report.tally is not None
        assert report.cost == pytest.approx(0.5 * report.tally.output_tokens)
        assert report.cost_so_far == pytest.approx(report.cost)

        asked = dict(server.provider.asked)
        again = publish_responses(project, SNAPSHOT, "batched", "again", unwatched)
        assert (again.fresh, dict(server.provider.asked)) == (False, asked)
    with SqlLedger(project.settings.ledger_url) as ledger:
        [cost] = [each for each in ledger.costs() if each.step == f"responses/{SNAPSHOT}/batched"]
        assert (cost.replies, cost.endpoint) == (2 * pairs, "lab")


def test_an_open_batch_is_stopped_at_the_provider_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = BatchServer(BatchProvider())
    with serving(server.app) as url:
        project = project_at(tmp_path, url)
        for name, value in (("HOME", project.settings.home), ("ROSTER", project.settings.roster)):
            monkeypatch.setenv(f"VALBENCH_{name}", str(value))
        monkeypatch.setenv("LAB_KEY", KEY)
        line = (
            b'{"custom_id": "f", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": '
        )
        file_id = server.provider.upload("a.jsonl", line + b'[{"role": "user", "content": "q"}]}}\n', "batch")["id"]
        made = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        batch_id = server.provider.create(made)["id"]
        at = "2026-11-21T12:00:00.000+00:00"
        with SqlLedger(project.settings.ledger_url) as ledger:
            planned = BatchEvent(
                "key-1", "planned", "lab", "lab", at, "run", fingerprints=("f",), detail="responses/s/m"
            )
            created = BatchEvent("key-1", "created", "lab", "lab", at, "run", remote_id=batch_id)
            for event in (planned, created):
                asyncio.run(ledger.record(event))

        unknown = CliRunner().invoke(main, ["ledger", "cancel", "batch_999"])
        assert (unknown.exit_code, unknown.output) == (
            1,
            f"Error: there is no open batch batch_999; open are: {batch_id}\n",
        )
        stopped = CliRunner().invoke(main, ["ledger", "cancel", batch_id])
        assert stopped.exit_code == 0, stopped.output
        assert stopped.output.startswith(f"batch {batch_id} is cancel")
        assert "run responses/s/m again to collect" in stopped.output
        assert server.provider.asked["cancel"] == 1
