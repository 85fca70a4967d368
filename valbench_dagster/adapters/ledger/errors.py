"""What can be wrong with a ledger, in words for a person.

Here belong the errors that this folder raises. Which errors of a database pass by themselves is `connection.py`.
"""


class LedgerUnwritable(Exception):  # noqa: N818 - names the state the run stops in
    """The ledger cannot store or be asked; nothing that is not stored has been used."""


class LedgerRefused(ValueError):  # noqa: N818 - as above
    """What was named is no ledger that this program can use: a URL, a layout, a file to import."""


def cause(error: BaseException) -> str:
    """Give the database's own word, one line: the whole text would quote the replies that were to be stored."""
    found = getattr(error, "orig", None) or error
    first, *_ = str(found).strip().splitlines() or [""]
    return f"{type(found).__name__}: {first}"


def unwritable(name: str, error: BaseException) -> LedgerUnwritable:
    """Make the error for those whose calls could not be stored."""
    return LedgerUnwritable(
        f"the ledger {name} cannot be written ({cause(error)}). Nothing that is not stored was used. Free space or "
        "mend the database, then run again: it goes on from there."
    )


def unreadable(name: str, error: BaseException) -> LedgerUnwritable:
    """Make the error for those who asked the ledger in vain."""
    return LedgerUnwritable(
        f"the ledger {name} cannot be read ({cause(error)}). What was stored stays. Mend the database, then run again: "
        "it goes on from there."
    )
