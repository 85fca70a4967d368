"""Store bytes: files of a folder or object store as a source, by fsspec URL. Which files it has is `stores.py`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from fsspec.core import url_to_fs

from valbench_dagster.dumps.catalogue import NotThereError
from valbench_dagster.dumps.sources import (
    Body,
    InterruptedTransferError,
    PassingError,
    Patience,
    Retries,
    Tell,
    TransferError,
)

CHUNK_BYTES = 1 << 20


class StoreSource:
    """Files by their fsspec URL; logins and endpoints are those that fsspec's own settings give."""

    has_mirror = False

    def __init__(self, patience: Patience | None = None, rng: Random | None = None) -> None:
        """Open nothing yet."""
        self._patience = patience or Patience()
        self._rng = rng or Random()
        self._interrupted = threading.Event()

    @contextmanager
    def body(self, place: str, offset: int, *, from_mirror: bool) -> Iterator[Body]:
        """Open the bytes of the file at the URL `place`; see `Source.body`. There is no mirror."""
        if from_mirror:
            raise ValueError("a store has no mirror")
        try:
            fs, path = url_to_fs(place)
            facts = fs.info(path)
            opened = fs.open(path, "rb")
        except FileNotFoundError as error:
            raise NotThereError(f"{place}: there is no such file") from error
        except (ImportError, PermissionError, ValueError) as error:
            raise TransferError(f"{place}: {error}") from error
        except OSError as error:
            raise PassingError(f"{place}: {error}") from error
        with opened as file:
            yield Body(
                start=offset,
                total=facts.get("size"),
                validator=_validator(facts),
                host=place.partition("://")[0],
                chunks=self._chunks(file, place, offset),
            )

    def _chunks(self, file: Any, place: str, offset: int) -> Iterator[bytes]:
        try:
            file.seek(offset)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
                if self._interrupted.is_set():
                    raise InterruptedTransferError(f"{place}: interrupted")
        except OSError as error:
            raise PassingError(f"{place}: {error}") from error

    def retries(self, tell: Tell | None = None) -> Retries:
        """Begin to count the tries for one file."""
        return Retries(self._patience, self._interrupted.wait, self._rng, tell)

    def interrupt(self) -> None:
        """End every wait and every open body at its next chunk, for good."""
        self._interrupted.set()


def _validator(facts: dict[str, Any]) -> str | None:
    """What a store says of a file that changes with its content: an ETag, else a time."""
    told = next((facts[key] for key in ("ETag", "etag", "mtime", "LastModified", "created") if facts.get(key)), None)
    return None if told is None else str(told)
