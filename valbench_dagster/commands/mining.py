"""Commands on dump files as they are: mine them, and explain what became of a page. Thin."""

import gc
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from valbench_dagster.dumps.bzip2_decoder import Decoder


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write into.")
@click.option("--processes", type=click.IntRange(min=1), help="Processes that mine; one a processor by default.")
@click.option(
    "--decoder",
    type=click.Choice(["auto", "lbzip2", "indexed_bzip2", "rapidgzip", "bz2"]),
    default="auto",
    show_default=True,
    help="What decodes bzip2: the same comes out, at another speed. By default the fastest that is installed.",
)
@click.option("--snapshot", help="Snapshot key, such as enwiki-20261101; by default the files' names tell.")
@click.option(
    "--damaged",
    type=click.Choice(["fail", "keep"]),
    default="fail",
    show_default=True,
    help="What to do about a damaged file: stop, or keep what is sound of it and list what is not.",
)
def mine(
    files: tuple[Path, ...],
    out: Path,
    processes: int | None,
    decoder: "Decoder",
    snapshot: str | None,
    damaged: Literal["fail", "keep"],
) -> None:
    """Mine dump FILEs for sections whose heading matches, into OUT/sections.parquet and OUT/section_drops.parquet.

    FILE is any MediaWiki export (.xml, .bz2, .gz), multistream or not; several are parts of one snapshot, in order.
    Beside the two stand mined_files.parquet and dump_damages.parquet: what was read of each file, and what was not.
    """
    from valbench_dagster.mining.mine import MineProgress, default_processes
    from valbench_dagster.report.mining_lines import progress_line, summary_lines
    from valbench_dagster.steps.mine_to_folder import mine_to_folder, snapshot_of

    # numpy, which Parquet brings along, would start threads that spin for work: the processors are the workers'.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    on_terminal = sys.stderr.isatty()

    def show(progress: MineProgress) -> None:
        click.echo(f"\r{progress_line(progress)}", nl=False, err=True)

    try:
        key = snapshot or snapshot_of(files)
        mining = mine_to_folder(
            files,
            out,
            key,
            processes=processes or default_processes(),
            decoder=decoder,
            on_damage=damaged,
            progress=show if on_terminal else None,
        )
    finally:
        if on_terminal:
            click.echo(err=True)
    for line in summary_lines(mining.tally, mining.mined_files, mining.damages, mining.seconds):
        click.echo(line)
    gc.freeze()  # the process ends: a last search for garbage among all that was imported would take longer than this


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--title", "-t", help="Title of the page; where none is equal, one that differs in case alone.")
@click.option("--page-id", type=int, help="Id of the page, instead of its title.")
@click.option("--wiki", help="Wiki whose patterns are tried, such as enwiki; by default the file tells.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with all texts whole.")
@click.option("--full", is_flag=True, help="Print long texts whole.")
def explain(file: Path, title: str | None, page_id: int | None, wiki: str | None, as_json: bool, full: bool) -> None:
    """Say why sections of a page are in or not: every heading of a page in the dump FILE, and what became of it.

    FILE is any MediaWiki export (.xml, .bz2, .gz). Of a multistream file with its index beside it, only the part that
    holds the page is read.
    """
    from valbench_dagster.dumps.decode import DumpError
    from valbench_dagster.report import explanation as report
    from valbench_dagster.steps.explaining import NoSuchPageError, UnknownWikiError, explain_in_file
    from valbench_dagster.wikitext.patterns import PatternsError

    if (title is None) == (page_id is None):
        raise click.UsageError("name the page by --title or by --page-id, one of them")

    def looked(count: int) -> None:
        click.echo(f"{count} pages looked at", err=True)

    try:
        found = explain_in_file(file, title=title, page_id=page_id, wiki=wiki, looked=looked)
    except (DumpError, NoSuchPageError, UnknownWikiError, PatternsError, OSError) as error:
        raise click.ClickException(str(error)) from error
    width = shutil.get_terminal_size((100, 24)).columns
    click.echo(report.as_json(found) if as_json else report.terminal(found, width, full=full))
