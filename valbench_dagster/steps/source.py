"""Source: from dump files to kept sections. The steps of the assets `dump` and `sections`."""

from collections import Counter
from collections.abc import Callable, Iterable

from valbench_dagster.dumps.fetch_progress import FetchProgress
from valbench_dagster.dumps.files import add_snapshot, describe, list_files, state_of
from valbench_dagster.dumps.names import parse_snapshot
from valbench_dagster.identity import identify
from valbench_dagster.mining.mine import MineProgress, Mining, OnDamage, default_processes
from valbench_dagster.mining.span_miner import Rules
from valbench_dagster.project_files import package_file
from valbench_dagster.records import DumpDamage, DumpFile, MinedFile, Section, SectionDrop
from valbench_dagster.stages.sections import Limits
from valbench_dagster.steps.fetching import fetch_snapshot
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.step_report import StepReport
from valbench_dagster.wikitext.patterns import load_patterns

SAMPLE_SNAPSHOT = "sample-20260101"

MINED = (Section, SectionDrop, MinedFile, DumpDamage)
"""The tables that one mining makes."""

MINING = 2
"""Raised when the same dump would give other sections: part of the input fingerprint of `sections`."""


def add_sample(project: Project) -> str:
    """Place the bundled sample dump among the dumps, unless it is there; give its snapshot key."""
    if not (project.settings.dumps / SAMPLE_SNAPSHOT).is_dir():
        sample = sorted(package_file("sample").glob("*.xml*"))
        add_snapshot(project.settings.dumps, SAMPLE_SNAPSHOT, sample, mode="copy")
    return SAMPLE_SNAPSHOT


def publish_dump(
    project: Project, snapshot: str, *, progress: Callable[[FetchProgress], None] | None = None
) -> StepReport:
    """Publish the files of a snapshot as facts, fetching them first where nothing of it is there or a fetch broke off.

    Files that were pruned after their sections were published are not fetched again: the facts stay as they are.
    Raises what `fetch_snapshot` and `describe` raise.
    """
    pointer = project.facts.current(DumpFile, snapshot)
    state = state_of(project.settings.dumps / snapshot)
    if pointer and state == "absent" and project.facts.current(Section, snapshot):
        return StepReport(pointer, False, _sizes(project.facts.rows(DumpFile, snapshot)))
    if state in ("absent", "unfinished"):
        fetch_snapshot(project, snapshot, progress=progress)
    files = describe(project.settings.dumps, snapshot)
    fingerprint = identify("step", ["dump", [[file.name, file.sha256, file.layout, file.verified] for file in files]])
    fresh = pointer is None or pointer.input_fingerprint != fingerprint
    if pointer is None or fresh:
        pointer = project.facts.publish(DumpFile, snapshot, files, input_fingerprint=fingerprint)
    return StepReport(pointer, fresh, _sizes(files))


def _sizes(files: Iterable[DumpFile]) -> dict[str, int]:
    sizes = [file.bytes for file in files]
    return {"files": len(sizes), "bytes": sum(sizes)}


def publish_sections(
    project: Project,
    snapshot: str,
    *,
    on_damage: OnDamage = "fail",
    progress: Callable[[MineProgress], None] | None = None,
) -> StepReport:
    """Mine the snapshot's dump and publish the kept sections, what became of everything else, and of each file.

    Streams: memory grows with the drops that name a page, not with the dump. Raises `DumpError` where a file is
    damaged and `on_damage` is not `keep`; the facts of before stay.
    """
    dump = project.facts.current(DumpFile, snapshot)
    if dump is None:
        raise LookupError(f"the dump of {snapshot} is not published yet: materialise the asset `dump` first")
    patterns, limits = load_patterns(parse_snapshot(snapshot)[0]), Limits()
    fingerprint = identify("step", ["sections", MINING, dump.content, patterns.fingerprint, repr(limits)])
    published = [project.facts.current(record, snapshot) for record in MINED]
    sections = published[0]
    if sections and all(pointer and pointer.input_fingerprint == fingerprint for pointer in published):
        return StepReport(sections, False, _reasons(project, snapshot))
    mining = Mining(
        list_files(project.settings.dumps, snapshot),
        Rules(snapshot, patterns, limits),
        processes=project.settings.processes or default_processes(),
        on_damage=on_damage,
        progress=progress,
    )
    pointer = project.facts.publish(Section, snapshot, mining.sections(), input_fingerprint=fingerprint)
    project.facts.publish(SectionDrop, snapshot, mining.tally.rows(), input_fingerprint=fingerprint)
    project.facts.publish(MinedFile, snapshot, mining.mined_files, input_fingerprint=fingerprint)
    project.facts.publish(DumpDamage, snapshot, mining.damages, input_fingerprint=fingerprint)
    return StepReport(pointer, True, _reasons(project, snapshot))


def _reasons(project: Project, snapshot: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for row in project.facts.rows(SectionDrop, snapshot):
        counts[f"{row.unit}s: {row.reason}"] += row.counted
    return dict(sorted(counts.items()))
