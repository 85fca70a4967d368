"""Identity: canonical JSON to tagged hashes, and the split of an article.

Here belongs every function that turns content into a name that must be the same on every machine and in every
year. What goes into each name is decided where the record is made (`records.py` says which).
"""

import hashlib
import json
from typing import Any

SPLITS = ("train", "validation", "test")


def canonical_json(value: Any) -> bytes:
    """Encode `value` as the one JSON text it has: keys sorted, no blanks, UTF-8, no NaN.

    Raises `ValueError` on NaN or infinity, `TypeError` on what JSON does not know, and `UnicodeEncodeError` on a
    lone surrogate (text from dumps has none: `wikitext` takes care of it).
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def identify(tag: str, value: Any) -> str:
    """Name `value` among all values of the kind `tag`: 32 hex characters of SHA-256 over tag and canonical JSON.

    The tag keeps a section and a request of equal content apart.
    """
    return hashlib.sha256(tag.encode("utf-8") + b"\0" + canonical_json(value)).hexdigest()[:32]


def text_hash(text: str) -> str:
    """Name a text: 32 hex characters of the SHA-256 of its UTF-8 bytes."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


def split_of(wiki: str, page_id: int) -> str:
    """Assign an article to `train` (80%), `validation` (10%) or `test` (10%), for ever.

    Decided by the first 8 bytes of SHA-256 of `wiki:page_id` alone, so that no pair of an article can stand in two
    splits and no refresh moves one. The paper's test set is 10.0% of its pairs (section 3.2).
    """
    digest = hashlib.sha256(f"{wiki}:{page_id}".encode()).digest()
    tenth = int.from_bytes(digest[:8], "big") % 10
    return "train" if tenth < 8 else SPLITS[tenth - 7]
