"""Commands on the project: the demo, evaluations, the leaderboard, and making things ready. Thin.

Everything they do can be done from the Dagster UI as well; they share the instance, so their runs show there.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import click

from valbench_dagster.dumps.files import list_files
from valbench_dagster.project_files import project_file
from valbench_dagster.records import Pair
from valbench_dagster.report.leaderboard import terminal
from valbench_dagster.steps.project import Project, open_project


@click.command()
def demo() -> None:
    """Run the whole chain on the bundled sample with the stand-in models, and print the leaderboard.

    Needs no key and no network. A second run makes no call and changes nothing.
    """
    from valbench_dagster.steps.source import add_sample

    project = open_project()
    roster = project.roster
    defaults = roster.defaults
    workers = [defaults.annotator, defaults.writer, *(roster.judge[judge].worker for judge in defaults.judges)]
    real = sorted(name for name in set(workers) if not roster.is_stand_in(roster.worker[name].endpoint))
    if real:
        raise click.ClickException(
            f"the demo asks stand-ins only, and the defaults of {project.settings.roster} name real models "
            f"({', '.join(real)}). Run it with the shipped roster: VALBENCH_ROSTER={project_file('roster.toml')}"
        )
    snapshot = add_sample(project)
    models = [entry.id for entry in roster.model if roster.is_stand_in(entry.endpoint)]
    _launch(project, snapshot, models, refresh=True)
    _print_leaderboard(project, snapshot)


@click.command()
@click.option("--snapshot", "-s", required=True, help="Snapshot key, such as enwiki-20261101.")
@click.option("--model", "-m", "models", multiple=True, required=True, help="Model of the roster; may be repeated.")
@click.option("--subset", type=click.FloatRange(0, 1, min_open=True), help="Share of the articles to ask about.")
@click.option("--seed", type=int, help="Seed of the draw of the subset.")
@click.option("--max-cost", type=click.FloatRange(0, min_open=True), help="The most that each run may spend.")
@click.option("--max-tokens", type=click.IntRange(1), help="The most tokens of each run.")
@click.option("--max-calls", type=click.IntRange(1), help="The most calls of each run.")
def evaluate(
    snapshot: str,
    models: tuple[str, ...],
    subset: float | None,
    seed: int | None,
    max_cost: float | None,
    max_tokens: int | None,
    max_calls: int | None,
) -> None:
    """Evaluate models on a snapshot in this process: what is missing is made, what is there is kept.

    What is not given is the roster's. At a cap a run stops cleanly; the same command goes on. See also `valbench plan`.
    """
    project = open_project()
    caps = {"max_cost": max_cost, "max_tokens": max_tokens, "max_calls": max_calls}
    for model in models:
        project.roster.respondent(model)
    refresh = project.facts.current(Pair, snapshot) is None
    if refresh:
        # A key that is mistyped must not become a partition.
        list_files(project.settings.dumps, snapshot)
    _launch(project, snapshot, models, refresh=refresh, config={"subset": subset, "subset_seed": seed, **caps})
    _print_leaderboard(project, snapshot)


@click.command("leaderboard")
@click.option("--snapshot", "-s", help="Only this snapshot.")
def leaderboard(snapshot: str | None) -> None:
    """Print the leaderboard as it stands in the warehouse."""
    _print_leaderboard(open_project(), snapshot)


@click.command("serve-stand-ins")
@click.option("--port", default=0, show_default=True, help="Port on 127.0.0.1; 0 picks a free one.")
@click.option("--latency", default=0.0, show_default=True, help="Seconds that each reply takes.")
def serve_stand_ins(port: int, latency: float) -> None:
    """Serve the stand-in models on loopback; prints the base URL to put into the roster."""
    from valbench_dagster.stand_ins.serve import serve

    serve(port, latency)


@click.command()
def prepare() -> None:
    """Make the home of Dagster ready: its settings, pools and partitions, the sample, and a `.env` that names it."""
    from valbench_dagster.orchestration.instance import name_home, open_instance, prepare_home, register_snapshot
    from valbench_dagster.steps.source import add_sample

    project = open_project()
    home = prepare_home(project.settings)
    register_snapshot(open_instance(project.settings, project.roster), add_sample(project))
    if before := name_home(Path(".env"), home):
        click.echo(f".env named {before} and now names {home}")
    click.echo(f"DAGSTER_HOME is {home}")


@click.command()
def init() -> None:
    """Place roster.toml, dagster.yaml and workspace.yaml in this folder, to edit; keeps those that are there."""
    for name in ("roster.toml", "workspace.yaml", "dagster.yaml"):
        if Path(name).exists():
            click.echo(f"kept    {name}")
        else:
            shutil.copyfile(project_file(name), name)
            click.echo(f"placed  {name}")


@click.command()
def doctor() -> None:
    """Check the roster and say where everything lies."""
    project = open_project()
    settings, roster = project.settings, project.roster
    click.echo(f"roster     {settings.roster}: {len(roster.model)} models, {len(roster.judge)} judges, no problem")
    click.echo(f"home       {settings.home}\nfacts      {settings.facts}\ndumps      {settings.dumps}")
    click.echo(f"warehouse  {settings.warehouse}{'' if settings.warehouse.is_file() else ' (not built yet)'}")
    for name, endpoint in sorted(roster.endpoint.items()):
        click.echo(f"endpoint   {name}: {endpoint.provider} at {endpoint.base_url}, {endpoint.concurrency} at once")


def _launch(
    project: Project,
    key: str,
    models: tuple[str, ...] | list[str],
    *,
    refresh: bool,
    config: Mapping[str, float | int | None] | None = None,
) -> None:
    # Dagster takes most of a second to import: only for the commands that run something.
    from valbench_dagster.definitions import make_definitions
    from valbench_dagster.orchestration.asking_config import RespondingConfig
    from valbench_dagster.orchestration.instance import open_instance, register_snapshot
    from valbench_dagster.orchestration.launch import (
        RunFailedError,
        evaluate_model,
        rebuild_warehouse,
        refresh_dataset,
    )

    definitions, instance = make_definitions(project), open_instance(project.settings, project.roster)
    register_snapshot(instance, key)
    options = RespondingConfig(**(config or {}))  # type: ignore[arg-type]  # checked by click, and by the class
    try:
        if refresh:
            click.echo(f"refreshing the dataset of {key}", err=True)
            refresh_dataset(definitions, instance, key, options)
        for model in models:
            click.echo(f"evaluating {model}", err=True)
            evaluate_model(definitions, instance, key, model, options)
        click.echo("building the warehouse", err=True)
        rebuild_warehouse(definitions, instance)
    except RunFailedError as error:
        raise click.ClickException(str(error)) from error


def _print_leaderboard(project: Project, key: str | None) -> None:
    import polars as pl

    from valbench_dagster.steps.reporting import read_report

    frame = read_report(project, "headline")
    click.echo(terminal(frame if key is None else frame.filter(pl.col("snapshot") == key)))
