"""The command that plans: what an evaluation would ask and cost, before anything is asked. Thin."""

import click


@click.command()
@click.option("--snapshot", "-s", required=True, help="Snapshot key, such as enwiki-20261101.")
@click.option("--model", "-m", "models", multiple=True, help="Model of the roster; may be repeated.")
@click.option("--judge", "-j", "judges", multiple=True, help="Judge; may be repeated. By default those of the roster.")
@click.option(
    "--subset",
    "fraction",
    type=click.FloatRange(min=0, max=1, min_open=True),
    help="Share of the split's articles; by default the roster's.",
)
@click.option("--seed", type=int, help="Seed of the subset; by default the roster's.")
@click.option("--max-cost", type=click.FloatRange(0, min_open=True), help="The most that each run may spend.")
@click.option("--max-tokens", type=click.IntRange(1), help="The most tokens of each run.")
@click.option("--max-calls", type=click.IntRange(1), help="The most calls of each run.")
@click.option("--dataset", is_flag=True, help="Plan making the pairs anew as well, as for a new dump.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def plan(
    snapshot: str,
    models: tuple[str, ...],
    judges: tuple[str, ...],
    fraction: float | None,
    seed: int | None,
    max_cost: float | None,
    max_tokens: int | None,
    max_calls: int | None,
    dataset: bool,
    as_json: bool,
) -> None:
    """Say what an evaluation would ask, what of it is paid for already, and what the rest may cost and take.

    Asks no model, needs no key and changes nothing. A snapshot without pairs is planned from its sections on.
    """
    from valbench_dagster.llm.budget import Caps
    from valbench_dagster.report import plan_lines as report
    from valbench_dagster.stages.subsets import Subset
    from valbench_dagster.steps.planning import plan as make_plan
    from valbench_dagster.steps.project import open_project

    if not models and not dataset:
        raise click.UsageError("name a model by --model, or plan the dataset alone by --dataset")
    project = open_project()
    defaults, subset = project.roster.defaults, None
    if fraction is not None or seed is not None:
        subset = Subset(
            defaults.subset if fraction is None else fraction, defaults.subset_seed if seed is None else seed
        )
    caps = None
    if max_cost or max_tokens or max_calls:
        caps = Caps(max_cost or defaults.max_cost, max_tokens or defaults.max_tokens, max_calls or defaults.max_calls)
    made = make_plan(project, snapshot, models, judges=judges, subset=subset, caps=caps, dataset=dataset)
    if as_json:
        click.echo(report.as_json(made))
        return
    for line in report.plan_lines(made):
        click.echo(line)
