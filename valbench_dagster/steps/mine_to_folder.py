"""Mining to a folder: the pass over dump files alone, without facts and Dagster. What `valbench mine` does."""

from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import chain
from pathlib import Path

from valbench_dagster.dumps.bzip2_decoder import Decoder
from valbench_dagster.dumps.names import DumpFilesError, parse_snapshot, snapshot_in
from valbench_dagster.mining.mine import MineProgress, Mining, OnDamage
from valbench_dagster.mining.span_miner import Rules
from valbench_dagster.records import DumpDamage, MinedFile, Section, SectionDrop
from valbench_dagster.wikitext.patterns import load_patterns


def snapshot_of(files: Sequence[Path]) -> str:
    """Read the snapshot key off the names of dump files, as the server writes them.

    Raises `DumpFilesError` where a name tells none, or two tell different ones.
    """
    told = {path: snapshot_in(path.name) for path in files}
    keys = sorted({key for key in told.values() if key is not None})
    problems = [
        f"{path}: the name tells no wiki and date, such as enwiki-20261101-..." for path in files if told[path] is None
    ]
    if len(keys) > 1:
        problems.append(f"The names tell different snapshots: {', '.join(keys)}.")
    if problems:
        raise DumpFilesError(problems, "Say which it is: valbench mine FILE... --out DIR --snapshot enwiki-20261101")
    parse_snapshot(keys[0])
    return keys[0]


def mine_to_folder(
    files: Sequence[Path],
    out: Path,
    snapshot: str,
    *,
    processes: int,
    decoder: Decoder = "auto",
    on_damage: OnDamage = "fail",
    progress: Callable[[MineProgress], None] | None = None,
) -> Mining:
    """Mine files into `out`: `sections.parquet`, `section_drops.parquet`, and what was read of each file beside them.

    Files that were there are replaced, all of them at the end: a run that fails leaves what was there before. Raises
    `DumpError` for damage (unless it is kept), `DumpFilesError` where a file is missing.
    """
    missing = [
        f"{path}: {'not a file' if path.exists() else 'there is no such file'}." for path in files if not path.is_file()
    ]
    if missing or not files:
        raise DumpFilesError(missing or ["No file is given."], "Run: valbench mine FILE... --out DIR")
    patterns = load_patterns(parse_snapshot(snapshot)[0])
    rules = Rules(snapshot, patterns, decoder=decoder)
    mining = Mining(files, rules, processes, on_damage=on_damage, progress=progress, meanwhile=_import_what_writes)
    out.mkdir(parents=True, exist_ok=True)
    sections = mining.sections()
    first = next(sections, None)
    from valbench_dagster.adapters.parquet import write_file

    made: list[Path] = []
    try:
        for record, rows in (
            (Section, lambda: chain([first] if first else [], sections)),
            (SectionDrop, mining.tally.rows),
            (MinedFile, lambda: mining.mined_files),
            (DumpDamage, lambda: mining.damages),
        ):
            part = out / f"{record.TABLE}.parquet.part"
            made.append(part)
            write_file(record, rows(), part)
    except BaseException:
        for part in made:
            part.unlink(missing_ok=True)
        raise
    for part in made:
        part.replace(part.with_suffix(""))
    return mining


def _import_what_writes() -> None:
    """What writes Parquet takes a while to import, and brings threads that would make workers slower to start."""
    import_module("valbench_dagster.adapters.parquet")
