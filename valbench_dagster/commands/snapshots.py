"""Commands on snapshots: what there is, here and on the dump server; adding, fetching and pruning. Thin."""

import shutil
import sys
from pathlib import Path

import click

from valbench_dagster.dumps.files import add_snapshot, discover
from valbench_dagster.records import Pair
from valbench_dagster.steps.project import open_project


@click.group()
def snapshot() -> None:
    """Snapshots: the dumps that are there, adding one, what the dump server offers, and fetching that."""


@snapshot.command("add")
@click.argument("key")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--copy", is_flag=True, help="Copy the files instead of linking them.")
def snapshot_add(key: str, files: tuple[Path, ...], copy: bool) -> None:
    """Add a snapshot KEY ({wiki}-{YYYYMMDD}) from the dump FILES of a MediaWiki export."""
    from valbench_dagster.orchestration.instance import open_instance, register_snapshot

    project = open_project()
    add_snapshot(project.settings.dumps, key, files, mode="copy" if copy else "link")
    register_snapshot(open_instance(project.settings, project.roster), key)
    click.echo(f"added {key} with {len(files)} file{'s' * (len(files) > 1)}; next: valbench evaluate -s {key} -m MODEL")


@snapshot.command("list")
def snapshot_list() -> None:
    """List the snapshots, and how many pairs each has."""
    project = open_project()
    for key in sorted(discover(project.settings.dumps)):
        pairs = project.facts.current(Pair, key)
        click.echo(f"{key}\t{pairs.rows if pairs else 'no'} pairs")


@snapshot.command("offers")
@click.option("--wiki", help="Only this wiki; by default those of VALBENCH_WIKIS.")
@click.option("--newest", default=3, show_default=True, type=click.IntRange(1), help="How many dates.")
def snapshot_offers(wiki: str | None, newest: int) -> None:
    """List the newest snapshots that the dump server has: layout, files, size, and why one is not complete."""
    from valbench_dagster.dumps.files import state_of
    from valbench_dagster.report.dump_lines import offer_lines
    from valbench_dagster.steps.fetching import offers

    project = open_project()
    found = [each for name in ([wiki] if wiki else project.settings.wikis) for each in offers(project, name, newest)]
    here = {each.snapshot: state_of(project.settings.dumps / each.snapshot) for each in found}
    for line in offer_lines(found, here):
        click.echo(line)


@snapshot.command("fetch")
@click.argument("key")
def snapshot_fetch(key: str) -> None:
    """Fetch the snapshot KEY ({wiki}-{YYYYMMDD}) from the dump server, or go on where an attempt was broken off."""
    from valbench_dagster.dumps.fetch_progress import FetchProgress
    from valbench_dagster.orchestration.instance import open_instance, register_snapshot
    from valbench_dagster.report.dump_lines import fetch_line, gigabytes
    from valbench_dagster.steps.fetching import fetch_snapshot

    def show(progress: FetchProgress) -> None:
        width = shutil.get_terminal_size((100, 24)).columns
        click.echo(f"\r{fetch_line(progress)[: width - 1]:<{width - 1}}", nl=False, err=True)

    project = open_project()
    on_terminal = sys.stderr.isatty()
    try:
        files = fetch_snapshot(project, key, progress=show if on_terminal else None)
    except KeyboardInterrupt:
        raise click.ClickException(f"interrupted; what came is kept. Run: valbench snapshot fetch {key}") from None
    finally:
        if on_terminal:
            click.echo(err=True)
    register_snapshot(open_instance(project.settings, project.roster), key)
    new = sum(file.fetched for file in files)
    compared = sum(file.published is not None for file in files)
    click.echo(
        f"{key} is whole: {len(files)} files, {gigabytes(sum(file.bytes for file in files))} GB, {new} of them fetched "
        f"now, {compared} compared with a published hash; next: valbench evaluate -s {key} -m MODEL"
    )


@click.command()
@click.option("--apply", "do", is_flag=True, help="Do it; without, nothing is removed.")
def prune(do: bool) -> None:
    """Say which dump files and facts of old snapshots are no longer kept, and with --apply remove them.

    VALBENCH_KEEP_DUMPS and VALBENCH_KEEP_FACTS say how many snapshots of a wiki keep theirs: all, unless set. The
    newest, dump files placed by hand, what a run or a fetch is at work on, and the ledger always stay.
    """
    from valbench_dagster.orchestration.instance import open_instance
    from valbench_dagster.orchestration.refreshes import snapshots_under_way
    from valbench_dagster.report.dump_lines import gigabytes
    from valbench_dagster.steps.retention import apply, plan

    project = open_project()
    busy, others = snapshots_under_way(open_instance(project.settings, project.roster))
    planned = plan(project, busy)
    if project.settings.keep_dumps is None and project.settings.keep_facts is None:
        click.echo("Everything is kept: neither VALBENCH_KEEP_DUMPS nor VALBENCH_KEEP_FACTS is set.")
    for share, stays in (*((each, "") for each in planned.removals), *((each, "stays: ") for each in planned.kept)):
        click.echo(f"{share.snapshot:<24} {share.what:<10} {gigabytes(share.bytes):>8} GB  {stays}{share.reason}")
    if not do:
        click.echo(
            f"{gigabytes(planned.bytes)} GB would go." + (" Run: valbench prune --apply" * bool(planned.removals))
        )
        return
    if others:
        raise click.ClickException(
            f"run {others[0]} may be reading facts of any snapshot, so nothing was removed: wait for its end, or "
            "terminate it in the UI where it was killed"
        )
    swept = apply(project, planned)
    click.echo(
        f"{gigabytes(planned.bytes)} GB went, and {len(swept)} files of facts that were no longer current. Run the job "
        "rebuild_warehouse to take them out of the warehouse."
    )
