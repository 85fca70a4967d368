"""Commands on the ledger of model calls: what it holds, and moving it. Thin."""

import shutil
from datetime import datetime
from pathlib import Path

import click

from valbench_dagster.steps.project import open_project

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(invoke_without_command=True)
@click.pass_context
def ledger(context: click.Context) -> None:
    """The ledger of model calls: what it holds and cost (also without a command), and moving it elsewhere."""
    if context.invoked_subcommand is None:
        context.invoke(ledger_show)


@ledger.command("show")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def ledger_show(as_json: bool = False) -> None:
    """Show size, calls per endpoint and model, cost per step, failures, and open batches."""
    from valbench_dagster.report import ledger_lines
    from valbench_dagster.steps.ledger import look

    state = look(open_project())
    if as_json:
        click.echo(ledger_lines.as_json(state))
        return
    for line in ledger_lines.lines(state, shutil.get_terminal_size((100, 24)).columns):
        click.echo(line)


@ledger.command("export")
@click.argument("file", type=_FILE)
@click.option("--endpoint", help="Only calls to this endpoint of the roster.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="Only calls that started then (UTC) or later.",
)
@click.option("--step", help="Only calls of this step, such as responses, or responses/enwiki-20261101/llama.")
def ledger_export(file: Path, endpoint: str | None, since: datetime | None, step: str | None) -> None:
    """Write calls to the Parquet FILE; without options all of them, and open batches to a file beside it."""
    from valbench_dagster.adapters.ledger.transfer import Chosen
    from valbench_dagster.steps.ledger import export_ledger

    try:
        done = export_ledger(open_project(), file, Chosen(endpoint, since.isoformat() if since else None, step))
    except FileExistsError as error:
        raise click.ClickException(str(error)) from error
    beside = f", and {done.events} events of open batches to {done.events_path}" if done.events_path else ""
    click.echo(f"wrote {done.calls:,} calls to {file}{beside}; import them elsewhere by: valbench ledger import {file}")


@ledger.command("import")
@click.argument("file", type=_FILE)
def ledger_import(file: Path) -> None:
    """Store the calls of a FILE that `valbench ledger export` wrote, each that is not in the ledger yet."""
    from valbench_dagster.steps.ledger import import_ledger

    done = import_ledger(open_project(), file)
    events = f", and {done.new_events} of {done.events} events of open batches" if done.events else ""
    click.echo(f"stored {done.new_calls:,} of {done.calls:,} calls{events}; the others were there already")


@ledger.command("abandon")
@click.argument("batch")
def ledger_abandon(batch: str) -> None:
    """Give up the open BATCH: what it asked is asked, and paid, again. Nothing is said to the provider."""
    from valbench_dagster.steps.ledger import abandon_batch

    click.echo(abandon_batch(open_project(), batch))


@ledger.command("cancel")
@click.argument("batch")
def ledger_cancel(batch: str) -> None:
    """Ask the provider to stop the open BATCH (our name or its own); the next run collects what it has done."""
    from valbench_dagster.steps.ledger import cancel_batch

    click.echo(cancel_batch(open_project(), batch))
