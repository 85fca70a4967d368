"""Server settings: which dump server is asked, by whom, and which settings are refused before any request is made."""

import re
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import urlsplit

MOST_CONNECTIONS = 3

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CONTACT = re.compile(r"[!-'*-~]+@[!-'*-~]+|https?://[!-'*-~]+")


class ServerSettingsError(ValueError):
    """Settings under which no request may be made."""


class ContactMissingError(ServerSettingsError):
    """Nobody is named whom the operators of the server could write to."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Which server is asked, which mirror gives the bytes (null: the server), and who asks.

    `contact` is an e-mail or page address of the operator. Raises `ServerSettingsError` on an address that is not
    https (http is for this machine only) and on more connections than the server allows.
    """

    server: str = "https://dumps.wikimedia.org"
    mirror: str | None = None
    contact: str | None = None
    connections: int = 2

    def __post_init__(self) -> None:
        for what, url in (("server", self.server), ("mirror", self.mirror)):
            if url is not None and not may_be_asked(url):
                raise ServerSettingsError(
                    f"The {what} {url!r} is refused: expected https://HOST/..., or http:// on this machine (127.0.0.1)."
                )
        if not 1 <= self.connections <= MOST_CONNECTIONS:
            raise ServerSettingsError(
                f"{self.connections} connections are refused: expected 1 to {MOST_CONNECTIONS}. The dump server allows "
                f"an address {MOST_CONNECTIONS} at once, over all its programs, and answers the next with an error."
            )


def may_be_asked(url: str) -> bool:
    """Whether `url` is an https address without a login, a query or a fragment, or http on this machine."""
    try:
        parts = urlsplit(url)
        plain = parts.hostname and not (parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        return False
    return bool(plain) and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK))


def user_agent(contact: str | None) -> str:
    """The User-Agent of every request; raises `ContactMissingError` where `contact` is no address."""
    if not contact or not _CONTACT.fullmatch(contact):
        raise ContactMissingError(
            "The dump server refuses who does not say whom it can write to: set VALBENCH_CONTACT to your e-mail "
            f"address or a page of yours (https://...); it is {repr(contact) if contact else 'not set'}. "
            "No request was made."
        )
    return f"valbench_dagster/{version('valbench_dagster')} (VAL-Bench, arXiv 2510.05465; {contact})"
