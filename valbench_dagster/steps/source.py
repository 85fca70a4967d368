"""Source: from dump files to kept sections. The steps of the assets `dump` and `sections`."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from valbench_dagster.dumps.files import add_snapshot, describe, list_files, parse_snapshot
from valbench_dagster.dumps.pages import read_export
from valbench_dagster.identity import identify
from valbench_dagster.project_files import package_file
from valbench_dagster.records import DumpFile, Section, SectionDrop
from valbench_dagster.stages.sections import Limits, Tally, mine_page, site_of
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.step_report import StepReport
from valbench_dagster.wikitext.patterns import load_patterns

SAMPLE_SNAPSHOT = "sample-20260101"

MINING = 1
"""Raised when the same dump would give other sections: part of the input fingerprint of `sections`."""


def add_sample(project: Project) -> str:
    """Place the bundled sample dump among the dumps, unless it is there; give its snapshot key."""
    if not (project.settings.dumps / SAMPLE_SNAPSHOT).is_dir():
        sample = sorted(package_file("sample").glob("*.xml*"))
        add_snapshot(project.settings.dumps, SAMPLE_SNAPSHOT, sample, mode="copy")
    return SAMPLE_SNAPSHOT


def publish_dump(project: Project, snapshot: str) -> StepReport:
    """Publish the files of a snapshot as facts, hashed as they lie."""
    files = describe(project.settings.dumps, snapshot)
    fingerprint = identify("step", ["dump", [[file.name, file.sha256] for file in files]])
    pointer = project.facts.current(DumpFile, snapshot)
    fresh = pointer is None or pointer.input_fingerprint != fingerprint
    if pointer is None or fresh:
        pointer = project.facts.publish(DumpFile, snapshot, files, input_fingerprint=fingerprint)
    return StepReport(pointer, fresh, {"files": len(files), "bytes": sum(file.bytes for file in files)})


def publish_sections(project: Project, snapshot: str) -> StepReport:
    """Mine the snapshot's dump and publish the kept sections, and what became of everything else.

    Streams: memory grows with the drops that name a page, not with the dump. Raises `DumpError` where a file is
    damaged or pages do not ascend; the facts of before stay.
    """
    dump = project.facts.current(DumpFile, snapshot)
    if dump is None:
        raise LookupError(f"the dump of {snapshot} is not published yet: materialise the asset `dump` first")
    patterns, limits = load_patterns(parse_snapshot(snapshot)[0]), Limits()
    fingerprint = identify("step", ["sections", MINING, dump.content, patterns.fingerprint, repr(limits)])
    sections, drops = (project.facts.current(record, snapshot) for record in (Section, SectionDrop))
    if sections and drops and sections.input_fingerprint == drops.input_fingerprint == fingerprint:
        return StepReport(sections, False, _reasons(project, snapshot))
    tally = Tally(snapshot)

    def kept() -> Iterator[Section]:
        for file in list_files(project.settings.dumps, snapshot):
            yield from _mine_file(file, snapshot)

    def _mine_file(file: Path, snapshot: str) -> Iterator[Section]:
        with read_export(file) as export:
            site = site_of(export.site, snapshot)
            for page in export:
                mined = mine_page(page, site, patterns, limits, snapshot)
                tally.add(mined)
                yield from mined.sections
            tally.add_without_revision(export.without_revision)

    pointer = project.facts.publish(Section, snapshot, kept(), input_fingerprint=fingerprint)
    project.facts.publish(SectionDrop, snapshot, tally.rows(), input_fingerprint=fingerprint)
    return StepReport(pointer, True, _reasons(project, snapshot))


def _reasons(project: Project, snapshot: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for row in project.facts.rows(SectionDrop, snapshot):
        counts[f"{row.unit}s: {row.reason}"] += row.counted
    return dict(sorted(counts.items()))
