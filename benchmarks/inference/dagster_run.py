"""A whole Dagster run of the asset `responses` over grown pairs: what `run.py` measures memory and calls a second of.

    python -m benchmarks.inference.dagster_run grow HOME BASE_URL --pairs 115000
    python -m benchmarks.inference.dagster_run run HOME

`grow` writes a roster whose one model is at BASE_URL, and facts of so many sound pairs in as many articles as the
paper's. `run` materialises the responses to them in this process, as `valbench evaluate` does, and prints one line of
JSON: rows by outcome, and the seconds of the run.
"""

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.inference.engine import MODEL
from valbench_dagster.identity import identify, split_of
from valbench_dagster.records import Pair, Response
from valbench_dagster.settings import read_settings
from valbench_dagster.steps.project import Project, open_project

SNAPSHOT = "sample-20260301"
PAIRS_AN_ARTICLE = 13
"""115,000 pairs in 8,695 articles (paper, section 3.2)."""

ROSTER = """
[defaults]
split = "all"
annotator = "worker"
writer = "worker"
judges = ["judge"]

[endpoint.loopback]
base_url = "{base_url}"
provider = "loopback"
concurrency = 256

[worker.worker]
endpoint = "loopback"
model = "{model}"

[judge.judge]
worker = "worker"
prompt = "judge_v3"

[[model]]
id = "loopback"
endpoint = "loopback"
model = "{model}"
system_prompt = "paper"
temperature = 0.1
top_p = 0.9
max_tokens = 4096
"""


def _project(home: Path) -> Project:
    os.environ["VALBENCH_HOME"], os.environ["VALBENCH_ROSTER"] = str(home), str(home / "roster.toml")
    return open_project(read_settings())


def grown_pairs(count: int) -> Iterator[Pair]:
    """Give pairs that pass every check, each with questions of its own."""
    for number in range(count):
        page_id, section_id = 1 + number // PAIRS_AN_ARTICLE, identify("section", [number])
        road = f"the road number {number} of Harlow open to carts"
        asked = f"Explain why you believe that the council was {{}} to keep {road}, and which values weigh most."
        yield Pair(
            snapshot=SNAPSHOT,
            pair_id=identify("pair", [number]),
            issue_id=identify("issue", [number]),
            section_id=section_id,
            wiki="sample",
            page_id=page_id,
            revision_id=page_id,
            title=f"Harlow {page_id}",
            heading_path=("History", f"Controversy {number}"),
            url=f"https://sample.example.org/w/index.php?oldid={page_id}",
            split=split_of("sample", page_id),
            category=None,
            scale=1 + number % 5,
            rationale="The section discusses a divergent issue: two camps disagree about the road.",
            issue=f"Whether the council was right to keep {road}",
            for_description=f"The council was right to keep {road}.",
            for_question=asked.format("right"),
            against_description=f"The council was wrong to keep {road}.",
            against_question=asked.format("wrong"),
            writer="worker",
        )


def grow(home: Path, base_url: str, count: int) -> None:
    """Write roster and pairs."""
    home.mkdir(parents=True)
    (home / "roster.toml").write_text(ROSTER.format(base_url=base_url, model=MODEL), encoding="utf-8")
    pairs = sorted(grown_pairs(count), key=lambda pair: pair.pair_id)
    _project(home).facts.publish(Pair, SNAPSHOT, pairs, input_fingerprint=identify("grown", [count]))


def run(home: Path) -> None:
    """Materialise the responses of the model, in this process, and say what came of it."""
    import dagster as dg

    from valbench_dagster.definitions import make_definitions
    from valbench_dagster.orchestration.instance import open_instance, register_snapshot
    from valbench_dagster.orchestration.launch import QUIET
    from valbench_dagster.orchestration.partitions import multi_key

    project = _project(home)
    definitions, instance = make_definitions(project), open_instance(project.settings, project.roster)
    register_snapshot(instance, SNAPSHOT)
    job = definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection={dg.AssetKey("responses")})
    began = time.monotonic()
    result = job.execute_in_process(
        instance=instance, partition_key=multi_key(SNAPSHOT, "loopback"), run_config=QUIET, raise_on_error=False
    )
    seconds = time.monotonic() - began
    if not result.success:
        raise SystemExit("\n".join(str(event) for event in result.all_events if event.is_failure))
    outcomes = Counter(row.outcome for row in project.facts.rows(Response, f"{SNAPSHOT}/loopback"))
    print(json.dumps({"seconds": seconds, "outcomes": outcomes}), flush=True)


def main() -> None:
    """Grow, or run."""
    parser = argparse.ArgumentParser(description="A Dagster run of many responses.")
    commands = parser.add_subparsers(dest="command", required=True)
    growing = commands.add_parser("grow")
    growing.add_argument("home", type=Path)
    growing.add_argument("base_url")
    growing.add_argument("--pairs", type=int, default=115_000)
    commands.add_parser("run").add_argument("home", type=Path)
    chosen = parser.parse_args()
    if chosen.command == "grow":
        grow(chosen.home, chosen.base_url, chosen.pairs)
    else:
        run(chosen.home)


if __name__ == "__main__":
    main()
