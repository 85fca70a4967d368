"""Classic: the dated dumps of a server, `/{wiki}/{YYYYMMDD}/`, as a catalogue (wikipedia.md, section 1).

Here belongs what `dumpstatus.json` says and which of its jobs is taken: multistream parts, else the one multistream
file made of them; single-stream files only in a run that has no multistream job. Indexes are offered with their parts.
"""

import re
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from valbench_dagster.dumps.catalogue import (
    CatalogueError,
    Documents,
    NotThereError,
    Offer,
    RemoteFile,
    check_question,
    linked_dates,
    refuse,
)
from valbench_dagster.dumps.page_ranges import PAGES, in_reading_order, pages_of, range_problems

_MULTISTREAM = ("articlesmultistreamdump", "articlesmultistreamdumprecombine")
_SINGLE_STREAM = ("articlesdump", "articlesdumprecombine")
_NOT_DONE = {
    "waiting": "has not begun (status waiting)",
    "in-progress": "is still being written (status in-progress)",
    "failed": "failed (status failed)",
    "skipped": "was left out of the run (status skipped)",
}
_NAMED_AT_MOST = 5


class _File(BaseModel):
    # Ignored: keys that the producer may add. While a job runs, any of these may be absent.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    size: Annotated[int, Field(ge=0)] | None = None
    url: str | None = None
    sha1: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None


class _Job(BaseModel):
    # Ignored: `updated`, and keys that the producer may add.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    status: str
    files: dict[str, _File] | None = None


class _Jobs(BaseModel):
    # Ignored: the two dozen jobs of a run that are not read here, whatever shape they take.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    articlesmultistreamdump: _Job | None = None
    articlesmultistreamdumprecombine: _Job | None = None
    articlesdump: _Job | None = None
    articlesdumprecombine: _Job | None = None


class _Status(BaseModel):
    # Ignored: `version`, and keys that the producer may add.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    jobs: _Jobs


def articles_pattern(wiki: str, date: str, *, multistream: bool) -> re.Pattern[str]:
    """The full names of article files of a run: `{wiki}-{date}-pages-articles[-multistream][N].xml[-pApB].bz2`.

    Group `part` holds the number and `pages` the range; neither is there in the name of a file that is the whole.
    """
    stream = "-multistream" if multistream else ""
    return re.compile(
        rf"{re.escape(wiki)}-{date}-pages-articles{stream}(?P<part>[0-9]{{1,9}})?\.xml(?P<pages>-{PAGES})?\.bz2"
    )


def index_pattern(wiki: str, date: str) -> re.Pattern[str]:
    """The full names of indexes of multistream files, with the groups of `articles_pattern`."""
    return re.compile(
        rf"{re.escape(wiki)}-{date}-pages-articles-multistream-index"
        rf"(?P<part>[0-9]{{1,9}})?\.txt(?P<pages>-{PAGES})?\.bz2"
    )


@dataclass(frozen=True, slots=True)
class ClassicCatalogue:
    """The classic dumps of the server behind `documents`."""

    documents: Documents

    def dates(self, wiki: str) -> list[str]:
        """The dates on the wiki's directory page, newest first; none where there is no such page."""
        check_question(wiki)
        path = f"/{wiki}/"
        try:
            page = self.documents.text(path)
        except NotThereError:
            return []
        return linked_dates(page, path, "[0-9]{8}")

    def offer(self, wiki: str, date: str) -> Offer | None:
        """What `dumpstatus.json` of the date offers; null where the server has no folder of that date.

        Complete means: the job taken is done and each of its files has size, URL and SHA-1. The recombined file stands
        in for parts that the run skipped or did not keep, not for parts that are being made (again). Raises
        `CatalogueError` where the document or a name, URL or page range in the job taken cannot be right.
        """
        check_question(wiki, date)
        try:
            text = self.documents.text(f"/{wiki}/{date}/dumpstatus.json")
        except NotThereError:
            return self._without_status(wiki, date)
        jobs = _read_jobs(text, wiki, date)
        names = [name for name in _MULTISTREAM if name in jobs] or [name for name in _SINGLE_STREAM if name in jobs]
        if not names:
            return _nothing_yet(wiki, date, f"dumpstatus.json names no job {_MULTISTREAM[0]} or {_SINGLE_STREAM[0]}.")
        offers = []
        for name in names:
            offers.append(_offer_of(name, jobs[name], wiki, date))
            if offers[-1].complete or jobs[name].status not in ("done", "skipped"):
                break
        if offers[-1].complete:
            return offers[-1]
        return replace(offers[0], missing=" ".join(offer.missing for offer in offers))

    def _without_status(self, wiki: str, date: str) -> Offer | None:
        try:
            self.documents.text(f"/{wiki}/{date}/")
        except NotThereError:
            return None
        return _nothing_yet(wiki, date, "The folder has no dumpstatus.json.")


def _nothing_yet(wiki: str, date: str, missing: str) -> Offer:
    return Offer(wiki=wiki, date=date, layout="classic", complete=False, missing=missing, files=(), indexes=())


def _read_jobs(text: str, wiki: str, date: str) -> dict[str, _Job]:
    try:
        jobs = _Status.model_validate_json(text).jobs
    except ValidationError as error:
        where = f"/{wiki}/{date}/dumpstatus.json"
        problems = [
            f"{where}: {'.'.join(map(str, each['loc'])) or 'document'}: {each['msg']}." for each in error.errors()
        ]
        raise CatalogueError(problems, "Nothing of it is taken. Ask again later, or take another date.") from None
    return {name: job for name in (*_MULTISTREAM, *_SINGLE_STREAM) if (job := getattr(jobs, name)) is not None}


def _offer_of(name: str, job: _Job, wiki: str, date: str) -> Offer:
    listed = job.files or {}
    articles, indexes = _by_role(name, listed, wiki, date)
    missing = _missing(name, job, listed, [*articles, *indexes], articles)
    found = Offer(
        wiki=wiki,
        date=date,
        layout="classic",
        complete=not missing,
        missing=missing,
        files=tuple(_remote(each, listed[each], wiki, date, index=False) for each in articles),
        indexes=tuple(_remote(each, listed[each], wiki, date, index=True) for each in indexes),
    )
    # An index without its part shows that a part is not listed; a part without an index can be read all the same.
    paired = {index.name for file in found.files if (index := found.index_of(file))}
    alone = [index.name for index in found.indexes if index.name not in paired]
    if missing or not alone:
        return found
    return replace(found, complete=False, missing=f"Job {name} lists an index without its articles: {_some(alone)}.")


def _by_role(job: str, listed: dict[str, _File], wiki: str, date: str) -> tuple[list[str], list[str]]:
    """Names of articles and of indexes in reading order; raises `CatalogueError` with every problem of the list."""
    article = articles_pattern(wiki, date, multistream=job in _MULTISTREAM)
    index = index_pattern(wiki, date)
    articles = [name for name in listed if article.fullmatch(name)]
    indexes = [name for name in listed if job in _MULTISTREAM and index.fullmatch(name)]
    problems = [
        f"dumpstatus.json, job {job}: {name!r} is no name of a file of {wiki} {date}."
        for name in sorted(listed.keys() - {*articles, *indexes})
    ]
    problems += [
        f"dumpstatus.json, job {job}: {name!r} has URL {file.url!r}, expected '/{wiki}/{date}/{name}'."
        for name, file in sorted(listed.items())
        if file.url is not None and file.url != f"/{wiki}/{date}/{name}"
    ]
    for group, pattern in ((articles, article), (indexes, index)):
        problems += [f"dumpstatus.json, job {job}: {problem}" for problem in range_problems(group)]
        if len({_shape(pattern, name) for name in group}) > 1:
            names = _some(in_reading_order(group))
            problems.append(f"dumpstatus.json, job {job}: files that cannot be read together: {names}.")
    refuse(problems, wiki, date)
    return in_reading_order(articles), in_reading_order(indexes)


def _shape(pattern: re.Pattern[str], name: str) -> str:
    """Whether a name has a page range, only a number, or is that of the whole."""
    found = pattern.fullmatch(name)
    return "range" if found and found["pages"] else "number" if found and found["part"] else "whole"


def _missing(job_name: str, job: _Job, listed: dict[str, _File], names: list[str], articles: list[str]) -> str:
    """Why a job's files cannot be taken yet, in a sentence; empty where they can."""
    bare = [name for name in names if not listed[name].size or listed[name].url is None or listed[name].sha1 is None]
    if job.status != "done":
        state = _NOT_DONE.get(job.status, f"has status {job.status!r}, expected 'done'")
        there = f"; {len(names) - len(bare)} of its {len(names)} listed files are there" if names else ""
        return f"Job {job_name} {state}{there}."
    if not articles:
        return f"Job {job_name} is done and lists no file of articles."
    if bare:
        return f"Job {job_name} is done, but no size, URL or SHA-1 is given for {_some(bare)}."
    return ""


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more


def _remote(name: str, file: _File, wiki: str, date: str, *, index: bool) -> RemoteFile:
    first, last = pages_of(name)
    return RemoteFile(
        name=name,
        place=f"/{wiki}/{date}/{name}",
        bytes=file.size,
        sha256=None,
        sha1=file.sha1,
        md5=file.md5,
        role="index" if index else "articles",
        first_page=first,
        last_page=last,
    )
