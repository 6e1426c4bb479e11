"""Files of publishers, brought into a cache when they are asked for, and believed by their SHA-256 alone.

    fetch(published)                     # over https; goes on with what an earlier try has left
    store(published, Path("my.model"))   # a file that was brought by hand

Nothing here runs unless a user calls `matgraft fetch`. A file is data until its hash is that of the publisher: nothing
opens it before, and nothing unpickles it here.
"""

from __future__ import annotations

import re
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPMessage
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from matgraft.core.errors import DataError, MatgraftError, OptionError
from matgraft.core.files import whole
from matgraft.core.frozen import Frozen
from matgraft.core.limits import exceeded, limits
from matgraft.core.locks import locked_file
from matgraft.core.provenance import file_hash
from matgraft.core.stand_ins import stand_in

PARTIAL = ".partial"
"""Behind the name of a file of which only the beginning is there."""
_SILENCE_S = 60
"""Seconds without a byte after which a connection is given up."""
_PIECE = 2**20
_HASH = re.compile("[0-9a-f]{64}")

Opener = Callable[[str, dict[str, str]], Any]
"""Opens an address with headers: a response with `status`, `headers` and `read`."""
Told = Callable[[int, int | None], object]
"""Is told how many bytes are there, and of how many; None where the server does not say."""


class Published(Frozen):
    """A file that somebody has published.

    Attributes
    ----------
    name
        As `--from` takes it.
    address
        Over https.
    sha256
        That the file must have; empty where it is not known for certain.
    file
        Where it lies on this machine.
    """

    name: str
    address: str
    sha256: str
    file: Path


class Fetched(Frozen):
    """What lies in the cache now.

    Attributes
    ----------
    n_bytes
        Of the file.
    new
        False if it was there before.
    """

    name: str
    file: Path
    sha256: str
    n_bytes: int
    new: bool


def fetch(what: Published, sha256: str = "", *, opened: Opener | None = None, told: Told = lambda *_: None) -> Fetched:
    """Bring a file into the cache, unless it is there.

    Parameters
    ----------
    sha256
        That the file must have, where none is pinned: 64 digits, from its publisher.
    opened
        Opens addresses; the default knows https alone.

    Raises
    ------
    OptionError
        If no hash is known, or the one that is given is none or another.
    DataError
        If the server cannot be reached or sends another file; what has come is kept for the next try.
    RunError
        If another process fetches it.
    """
    wanted = _wanted(what, sha256)
    if there := _there(what, wanted):
        return there
    what.file.parent.mkdir(parents=True, exist_ok=True)
    partial = what.file.with_name(what.file.name + PARTIAL)
    with locked_file(what.file):
        try:
            _download(what.address, partial, opened or open_https, told)
        except (OSError, HTTPException, ValueError) as error:
            raise _unreachable(what, error, partial) from error
        return _believed(what, partial, wanted)


def store(what: Published, file: Path, sha256: str = "") -> Fetched:
    """Copy a file that was brought by hand into the cache, if its hash is the publisher's; errors as of `fetch`."""
    wanted = _wanted(what, sha256)
    if not file.is_file():
        raise DataError("there is no such file", where=str(file))
    if there := _there(what, wanted):
        return there
    what.file.parent.mkdir(parents=True, exist_ok=True)
    with locked_file(what.file), whole(what.file, durable=True) as part:
        shutil.copyfile(file, part)
        if (found := file_hash(part)) != wanted:
            raise _another(what, file, found, wanted)
        return Fetched(name=what.name, file=what.file, sha256=found, n_bytes=part.stat().st_size, new=True)


def open_https(address: str, headers: dict[str, str]) -> Any:
    """Open an address over https with certificates checked; redirections lead to https alone."""
    if urlsplit(address).scheme != "https":
        raise ValueError(f"{address} is not an address of https")
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        HttpsAlone(),
    ):
        opener.add_handler(handler)
    return opener.open(urllib.request.Request(address, headers=headers), timeout=_SILENCE_S)


class HttpsAlone(urllib.request.HTTPRedirectHandler):
    """Follows redirections to https, and refuses all others."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Return the next request; raises a ValueError where it would leave https."""
        if urlsplit(newurl).scheme != "https":
            raise ValueError(f"{req.full_url} redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _wanted(what: Published, sha256: str) -> str:
    """Return the hash that the file must have."""
    given = sha256.lower()
    if given and not _HASH.fullmatch(given):
        raise OptionError(f"{sha256!r} is not a SHA-256", allowed=["64 digits of 0-9 and a-f"])
    if given and what.sha256 and given != what.sha256:
        raise OptionError(
            f"the published file of {what.name} has the SHA-256 {what.sha256}, not {given}",
            remedy="leave the option sha256 out, or name your own file by its path: it is another model",
        )
    if not (given or what.sha256):
        raise OptionError(
            f"the SHA-256 of {what.name} is not known for certain, so the file cannot be checked",
            allowed=["the option sha256 with 64 digits"],
            remedy=f"its address is {what.address}; take the hash from its publisher, or from who has the file",
        )
    return given or what.sha256


def _there(what: Published, wanted: str) -> Fetched | None:
    """Return the file that is in the cache already; None if there is none."""
    if not what.file.is_file():
        return None
    if (found := file_hash(what.file)) != wanted:
        raise DataError(
            f"{what.name} is another file: its SHA-256 is {found}, and {wanted} is wanted",
            where=str(what.file),
            remedy="move it elsewhere, and ask again",
        )
    return Fetched(name=what.name, file=what.file, sha256=found, n_bytes=what.file.stat().st_size, new=False)


def _download(address: str, partial: Path, opened: Opener, told: Told) -> None:
    """Write what a server sends behind what is there, if it can begin there; else from the beginning."""
    have = partial.stat().st_size if partial.is_file() else 0
    headers = {"User-Agent": "matgraft", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        response = opened(address, headers)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing lies behind what is there: it is whole, or of something else
            return
        raise
    with response:
        goes_on = response.status == 206 and str(response.headers.get("Content-Range", "")).startswith(f"bytes {have}-")
        have = have if goes_on else 0
        said = str(response.headers.get("Content-Length", ""))
        total = have + int(said) if said.isdecimal() and len(said) < 16 else None
        most = limits().fetched_bytes
        with partial.open("ab" if goes_on else "wb") as file:
            while True:
                if max(have, total or 0) > most:
                    raise exceeded("fetched_bytes", f"the file has {max(have, total or 0):,} bytes", address)
                told(have, total)
                if not (piece := response.read(_PIECE)):
                    break
                file.write(piece)
                have += len(piece)
    if total is not None and have < total:
        raise OSError(f"the connection ended after {have:,} of {total:,} bytes")


def _believed(what: Published, partial: Path, wanted: str) -> Fetched:
    """Move a file to its place if its hash is right; else remove it, since nothing of it can be used."""
    found = file_hash(partial)
    if found != wanted:
        error = _another(what, partial, found, wanted)
        partial.unlink()
        raise error
    with whole(what.file, durable=True) as part:
        partial.replace(part)
    return Fetched(name=what.name, file=what.file, sha256=found, n_bytes=what.file.stat().st_size, new=True)


def _another(what: Published, file: Path, found: str, wanted: str) -> MatgraftError:
    with file.open("rb") as start:
        instead = stand_in(start.read(4096))
    is_what = f"it is {instead[0]}" if instead else f"its SHA-256 is {found}"
    return DataError(
        f"this is not the published file of {what.name}: {is_what}, and {wanted} is wanted",
        where=str(file),
        remedy=f"ask again, or download {what.address} by hand; the cache is as it was before",
    )


def _unreachable(what: Published, error: Exception, partial: Path) -> MatgraftError:
    have = partial.stat().st_size if partial.is_file() else 0
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return DataError(
        f"{what.name} cannot be fetched: {reason or type(error).__name__}"
        + (f"; {have:,} bytes are there, and the next try goes on behind them" if have else ""),
        where=what.address,
        remedy=f"without a network, download {what.address} elsewhere, bring the file here, and name it:",
        commands=[("matgraft", "fetch", what.name, "--from", PurePosixPath(what.address).name)],
    )
