"""Fetching: what a source offers, whether something of it is due, and bringing it into the folder of dumps.

Here the settings meet catalogue and fetch. What is due is decided by one function, whoever asks: sensor, schedule or
person. Nothing here starts a run, and nothing is fetched that was not asked for by its key.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from valbench_dagster.dumps.catalogue import Catalogue, CatalogueError, Offer, newest_complete, open_catalogue
from valbench_dagster.dumps.fetch import FetchedFile, fetch
from valbench_dagster.dumps.fetch_progress import FetchProgress
from valbench_dagster.dumps.files import state_of
from valbench_dagster.dumps.http import DumpServer
from valbench_dagster.dumps.manifest import Journal, read_manifest
from valbench_dagster.dumps.names import DumpFilesError, parse_snapshot
from valbench_dagster.dumps.server_settings import ContactMissingError, ServerSettings, ServerSettingsError
from valbench_dagster.dumps.sources import Patience, TransferError
from valbench_dagster.records import Pair
from valbench_dagster.steps.project import Project

SOURCE_ERRORS = (CatalogueError, ServerSettingsError, TransferError, OSError)
"""What keeps a source from being asked or from answering; the message is for a person."""

LOOK_WITHIN_S = 45.0
"""Dagster gives a sensor and a schedule 60 seconds."""

_OF_A_SERVER = ("auto", "classic", "exports")
_BRIEF = Patience(attempts=2, busy_attempts=2, longest_hold_s=10.0)
"""For a look that is repeated anyway."""


@dataclass(frozen=True, slots=True)
class DumpSource:
    """A source that is open: `name` is the layout of a server or the URL of a store, which has no server."""

    name: str
    catalogue: Catalogue
    server: DumpServer | None


@contextmanager
def open_source(
    project: Project, *, layout: str | None = None, patience: Patience | None = None
) -> Iterator[DumpSource]:
    """Open the source that the settings name, or that layout of their server; nothing is asked yet.

    Raises `ContactMissingError` where the settings name no contact for a server, `ServerSettingsError` on an address or
    number that is refused, `CatalogueError` on a source that there cannot be.
    """
    settings, name = project.settings, layout or project.settings.dump_source
    if name not in _OF_A_SERVER:
        yield DumpSource(name, open_catalogue(name, None), None)
        return
    asked = ServerSettings(
        server=settings.dump_server,
        mirror=settings.dump_mirror,
        contact=settings.contact,
        connections=settings.dump_connections,
    )
    server = DumpServer(asked, patience=patience)
    try:
        yield DumpSource(name, open_catalogue(name, server), server)
    finally:
        server.close()


def offers(project: Project, wiki: str, newest: int = 3) -> list[Offer]:
    """What the source has of the newest dates of a wiki, newest first, whole or not.

    Raises one of `SOURCE_ERRORS`.
    """
    with open_source(project) as source:
        found = (source.catalogue.offer(wiki, date) for date in source.catalogue.dates(wiki)[:newest])
        return [offer for offer in found if offer is not None]


def due(catalogue: Catalogue, wiki: str, known: Iterable[str]) -> Offer | None:
    """The newest complete snapshot of a wiki that is newer than all of it among the snapshot keys `known`.

    Null where there is none. So of a server that holds many, the first look finds one. Dates are asked for first, and
    offers of newer ones only. Raises `CatalogueError` and what the client of the source does.
    """
    dates = [date for key_wiki, _, date in (key.rpartition("-") for key in known) if key_wiki == wiki]
    return newest_complete(catalogue, wiki, after=max(dates, default=None))


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the source found: an offer a wiki at most, and a sentence for each thing that went wrong."""

    due: tuple[Offer, ...]
    troubles: tuple[str, ...]


def look_for_dumps(project: Project, seen: Mapping[str, str], within_s: float = LOOK_WITHIN_S) -> Look:
    """Look for what is due of the wikis that the settings follow; never raises what `SOURCE_ERRORS` names.

    `seen` is the newest date (YYYYMMDD) by wiki that needs no second look; snapshots that have pairs need none either.
    A wiki in trouble keeps no other from being looked at. A look that lasts longer than `within_s` seconds is given up.
    """
    known = [*project.facts.partitions(Pair), *(f"{wiki}-{date}" for wiki, date in seen.items())]
    try:
        with open_source(project, patience=_BRIEF) as source:
            return _within(within_s, source, lambda: _look(source, project.settings.wikis, known))
    except SOURCE_ERRORS as error:
        return Look((), (str(error),))


def _look(source: DumpSource, wikis: Iterable[str], known: list[str]) -> Look:
    found, troubles = [], []
    for wiki in wikis:
        try:
            offer = due(source.catalogue, wiki, known)
        except SOURCE_ERRORS as error:
            troubles.append(f"{wiki}: {error}")
        else:
            found += [offer] if offer else []
    return Look(tuple(found), tuple(troubles))


def _within(seconds: float, source: DumpSource, look: Callable[[], Look]) -> Look:
    # In a thread, since a request that hangs cannot be ended from within.
    pool = ThreadPoolExecutor(1, thread_name_prefix="look")
    try:
        return pool.submit(look).result(seconds)
    except TimeoutError:
        if source.server is not None:
            source.server.interrupt()
        return Look((), (f"the source {source.name} has not answered within {seconds:.0f} s",))
    finally:
        pool.shutdown(wait=False)


def fetch_snapshot(
    project: Project, snapshot: str, *, progress: Callable[[FetchProgress], None] | None = None
) -> list[FetchedFile]:
    """Bring the files of exactly that snapshot under `dumps/<snapshot>`, or what is missing there of them.

    The layout is that of the folder, where a fetch has begun or ended: a key's layout never changes. Of a snapshot that
    lies there whole nothing is asked. Raises `DumpFilesError` where the snapshot was placed by hand, is not offered or
    not complete, or the settings name no contact; what `fetch` raises; and one of `SOURCE_ERRORS`.
    """
    wiki, day = parse_snapshot(snapshot)
    folder = project.settings.dumps / snapshot
    state = state_of(folder)
    if state == "by hand":
        raise DumpFilesError(
            [f"Snapshot {snapshot} was placed by hand in {folder}: it is not mixed with files from elsewhere."],
            "Nothing was fetched. Leave it as it is, or move the folder away first.",
        )
    manifest = read_manifest(folder)
    if state == "fetched" and manifest is not None:
        return [
            FetchedFile(folder / file.name, file.role, file.bytes, file.sha256, file.published, fetched=False)
            for file in manifest.files
        ]
    layout = manifest.layout if manifest else Journal(folder, "classic").layout if state == "unfinished" else None
    try:
        with open_source(project, layout=_layout_to_ask(project, snapshot, layout)) as source:
            offer = _complete_offer(source, wiki, f"{day:%Y%m%d}")
            return fetch(offer, folder, source.server, progress=progress)
    except ContactMissingError as error:
        raise DumpFilesError(
            [f"Snapshot {snapshot} is not in {folder.parent}, or not all of it, and cannot be fetched.", str(error)],
            f"With files of your own, run: valbench snapshot add {snapshot} FILE...",
        ) from error


def _complete_offer(source: DumpSource, wiki: str, date: str) -> Offer:
    offer = source.catalogue.offer(wiki, date)
    remedy = f"Nothing was fetched. Run: valbench snapshot offers --wiki {wiki}"
    if offer is None:
        raise DumpFilesError([f"Snapshot {wiki}-{date} is not offered by its source ({source.name})."], remedy)
    if not offer.complete:
        problem = f"Snapshot {offer.snapshot} is not complete at its source ({offer.layout}): {offer.missing}"
        raise DumpFilesError([problem], remedy)
    return offer


def _layout_to_ask(project: Project, snapshot: str, layout: str | None) -> str | None:
    """The layout of the server that a folder is bound to; null where the settings alone decide."""
    source = project.settings.dump_source
    if layout is None or (layout == "store" and source not in _OF_A_SERVER):
        return None
    if layout != "store" and source in _OF_A_SERVER:
        return layout
    raise DumpFilesError(
        [f"Snapshot {snapshot} was begun from {_named(layout)}, and VALBENCH_DUMP_SOURCE names {source}."],
        f"A key's layout never changes: name that source, or move {project.settings.dumps / snapshot} away.",
    )


def _named(layout: str) -> str:
    return "a store" if layout == "store" else f"a dump server ({layout})"
