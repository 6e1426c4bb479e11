"""`matgraft fetch`: files of a server on this machine, believed by their hash alone."""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from matgraft.cli import app
from matgraft.core.errors import DataError, MatgraftError, OptionError
from matgraft.core.fetch import PARTIAL, HttpsAlone, Published, fetch, open_https, store
from matgraft.potentials.models.published import MACE, published

CONTENT = bytes(range(256)) * 5000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Sends `CONTENT`, or what a test puts in its place."""

    sends: ClassVar[bytes] = CONTENT
    ranges: ClassVar[bool] = True
    breaks_after: ClassVar[int | None] = None
    length: ClassVar[int | None] = None
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        begin, asked = 0, self.headers.get("Range", "")
        self.asked.append(asked)
        if asked and self.ranges:
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
            if begin >= len(self.sends):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(self.sends) - 1}/{len(self.sends)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(self.length or len(self.sends) - begin))
        self.end_headers()
        self.wfile.write(self.sends[begin : self.breaks_after])

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    monkeypatch.setattr(httpd, "handle_error", lambda *_: None)  # who reads leaves where it has enough
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    Server.asked.clear()
    yield f"http://127.0.0.1:{httpd.server_port}/a.model"
    httpd.shutdown()
    httpd.server_close()


def plain(address: str, headers: dict[str, str]) -> Any:
    """Open an address of this machine, where there is no https."""
    assert address.startswith("http://127.0.0.1:")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(urllib.request.Request(address, headers=headers), timeout=10)


def what(address: str, folder: Path, sha256: str = SHA) -> Published:
    return Published(name="mace:a", address=address, sha256=sha256, file=folder / "cache" / "amodel")


def get(one: Published, sha256: str = "") -> Any:
    return fetch(one, sha256, opened=plain)


def test_a_file_comes_once(server: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    one = what(server, tmp_path)
    first = fetch(one, opened=plain, told=lambda have, total: seen.append((have, total)))
    assert (first.new, first.n_bytes, first.sha256) == (True, len(CONTENT), SHA)
    assert one.file.read_bytes() == CONTENT
    assert (seen[0], seen[-1]) == ((0, len(CONTENT)), (len(CONTENT), len(CONTENT)))
    assert not get(one).new
    assert len(Server.asked) == 1
    assert [path.name for path in one.file.parent.iterdir()] == ["amodel"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_broke_off_goes_on(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranges: bool
) -> None:
    one = what(server, tmp_path)
    monkeypatch.setattr(Server, "breaks_after", 1000)
    with pytest.raises(DataError, match="1,000 bytes are there, and the next try goes on behind them") as caught:
        get(one)
    assert caught.value.commands == (("matgraft", "fetch", "mace:a", "--from", "a.model"),)
    assert not one.file.exists()
    monkeypatch.setattr(Server, "breaks_after", None)
    monkeypatch.setattr(Server, "ranges", ranges)
    assert get(one).new
    assert one.file.read_bytes() == CONTENT
    assert Server.asked == ["", "bytes=1000-"]


def test_a_partial_file_that_is_whole_already(server: str, tmp_path: Path) -> None:
    one = what(server, tmp_path)
    one.file.parent.mkdir()
    one.file.with_name(one.file.name + PARTIAL).write_bytes(CONTENT)
    assert get(one).new
    assert one.file.read_bytes() == CONTENT


@pytest.mark.parametrize("sent", [b"<html>Sign in</html>", CONTENT[:-1] + b"x", b""], ids=["page", "changed", "empty"])
def test_another_file_is_not_believed(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    one = what(server, tmp_path)
    monkeypatch.setattr(Server, "sends", sent)
    with pytest.raises(DataError, match="not the published file of mace:a") as caught:
        get(one)
    assert ("a web page" in str(caught.value)) == (b"html" in sent)
    assert list(one.file.parent.iterdir()) == []
    monkeypatch.setattr(Server, "sends", CONTENT)
    assert get(one).new


@pytest.mark.parametrize("length", [None, 2**40])
def test_a_file_without_end_is_cut(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int | None
) -> None:
    monkeypatch.setenv("MATGRAFT_LIMITS", "fetched_bytes=1000K")
    monkeypatch.setattr(Server, "length", length)
    with pytest.raises(DataError, match="fetched_bytes"):
        get(what(server, tmp_path))
    assert not what(server, tmp_path).file.exists()


def test_without_a_network_the_error_says_how_to_bring_the_file(tmp_path: Path) -> None:
    def unreachable(*_: Any) -> Any:
        raise urllib.error.URLError(OSError("Name or service not known"))

    one = what("https://example.invalid/a.model", tmp_path)
    with pytest.raises(DataError, match="Name or service not known") as caught:
        fetch(one, opened=unreachable)
    assert "download https://example.invalid/a.model elsewhere" in caught.value.remedy


def test_another_file_in_the_cache_is_told(server: str, tmp_path: Path) -> None:
    one = what(server, tmp_path)
    one.file.parent.mkdir()
    one.file.write_bytes(b"mine")
    with pytest.raises(DataError, match="is another file"):
        get(one)
    assert one.file.read_bytes() == b"mine"
    assert Server.asked == []


# ---------------------------------------------------------------------- https alone


@pytest.mark.parametrize("address", ["http://example.org/a", "file:///etc/passwd", "ftp://example.org/a", "a"])
def test_only_https_is_opened(address: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not an address of https"):
        open_https(address, {})
    with pytest.raises(DataError, match="not an address of https"):
        fetch(what(address, tmp_path))


@pytest.mark.parametrize(
    ("target", "followed"),
    [("https://other.org/b", True), ("http://other.org/b", False), ("file:///etc/passwd", False)],
)
def test_redirections_lead_to_https_alone(target: str, followed: bool) -> None:
    ask = partial(
        HttpsAlone().redirect_request, urllib.request.Request("https://example.org/a"), None, 302, "", {}, target
    )
    if followed:
        request = ask()
        assert request is not None
        assert request.full_url == target
    else:
        with pytest.raises(ValueError, match="is not https"):
            ask()


# ---------------------------------------------------------------------- hashes


def test_hashes_that_are_given(server: str, tmp_path: Path) -> None:
    unpinned = what(server, tmp_path, sha256="")
    with pytest.raises(OptionError, match="is not known for certain") as caught:
        get(unpinned)
    assert server in caught.value.remedy
    for wrong in ("abc", SHA[:16], SHA + "0", "g" * 64):
        with pytest.raises(OptionError, match="is not a SHA-256"):
            get(unpinned, wrong)
    with pytest.raises(OptionError, match="has the SHA-256"):
        get(what(server, tmp_path), "0" * 64)
    assert Server.asked == []
    assert get(unpinned, SHA.upper()).new


def test_a_file_that_was_brought_by_hand(tmp_path: Path) -> None:
    one, mine = what("https://example.invalid/a.model", tmp_path), tmp_path / "a.model"
    with pytest.raises(DataError, match="there is no such file"):
        store(one, mine)
    mine.write_bytes(CONTENT[1:])
    with pytest.raises(DataError, match="not the published file"):
        store(one, mine)
    mine.write_bytes(CONTENT)
    assert store(one, mine).new
    assert one.file.read_bytes() == mine.read_bytes() == CONTENT
    assert not store(one, mine).new


def test_what_is_published() -> None:
    pinned = [sha256 for _, sha256 in MACE.values() if sha256]
    assert len(set(pinned)) == len(pinned) == len(MACE) - 2
    assert all(len(one) == 64 and set(one) <= set("0123456789abcdef") for one in pinned)
    assert all(address.startswith("https://") for address, _ in MACE.values())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mace:medium-mpa-1", "did you mean 'medium-mpa-0'"),
        ("mace", "release of mace '' is unknown"),
        ("chgnet", "there is nothing to fetch"),
        ("composition", "there is nothing to fetch"),
        ("matgl", "when it is loaded"),
        ("medium-mpa-0", "mace:medium-mpa-0"),
        ("mace:small@0123456789abcdef", "names a hash"),
    ],
)
def test_names_that_cannot_be_fetched(name: str, said: str) -> None:
    with pytest.raises(MatgraftError) as caught:
        published(name)
    assert said in str(caught.value)


def test_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(MACE, "small", ("https://example.invalid/small.model", SHA))
    file = tmp_path / "brought.model"
    file.write_bytes(CONTENT)
    words = ["fetch", "mace:small", "--from", str(file)]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    assert f"mace:small fetched: {len(CONTENT):,} bytes in {tmp_path / 'mace' / 'smallmodel'}" in said.stdout
    again = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert (again["new"], again["sha256"]) == (False, SHA)
