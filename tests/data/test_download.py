"""Downloads against a server on this machine: mirrors, retries, checksums, broken transfers."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.data.raw import download as module
from bench.data.raw.download import download, published_checksum
from bench.errors import ConfigError, DataError

BODY = bytes(range(256)) * 3000
SHA256 = "sha256:" + hashlib.sha256(BODY).hexdigest()
MD5 = "md5:" + hashlib.md5(BODY).hexdigest()
WRONG = "sha256:" + "0" * 64


class _Server(http.server.ThreadingHTTPServer):
    """``pages``: path -> (status, body, bytes kept back while Content-Length counts them)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, tuple[int, bytes, int]] = {"/file.zip": (200, BODY, 0)}
        self.fail_first: dict[str, int] = {}
        self.hits: Counter[str] = Counter()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.hits[self.path] += 1
        status, body, held = self.server.pages.get(self.path, (404, b"no such page", 0))
        if self.server.hits[self.path] <= self.server.fail_first.get(self.path, 0):
            status, body = 503, b"busy"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) - held])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    monkeypatch.setattr(module, "WAIT_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with _Server() as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


@pytest.fixture
def dead_url() -> str:
    """A port on which nobody listens any more."""
    with _Server() as closed:
        return closed.url("/file.zip")


@pytest.mark.parametrize("checksum", [SHA256, MD5, SHA256.upper().replace("SHA256", "sha256"), None])
def test_a_file_arrives_whole_and_alone(server: _Server, tmp_path: Path, checksum: str | None) -> None:
    target = tmp_path / "new" / "folder" / "file.zip"
    assert download([server.url("/file.zip")], target, checksum=checksum) == target
    assert target.read_bytes() == BODY
    assert list(target.parent.iterdir()) == [target]


def test_a_file_that_is_there_and_right_is_not_fetched_again(server: _Server, tmp_path: Path) -> None:
    target = tmp_path / "file.zip"
    target.write_bytes(BODY)
    download([server.url("/file.zip")], target, checksum=SHA256)
    assert server.hits.total() == 0


def test_a_file_that_is_there_and_wrong_is_replaced_only_by_a_right_one(server: _Server, tmp_path: Path) -> None:
    target = tmp_path / "file.zip"
    target.write_bytes(b"old")
    with pytest.raises(DataError):
        download([server.url("/none.zip")], target, checksum=SHA256)
    assert target.read_bytes() == b"old"
    download([server.url("/file.zip")], target, checksum=SHA256)
    assert target.read_bytes() == BODY


def test_progress_ends_at_the_size_of_the_file(server: _Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    download([server.url("/file.zip")], tmp_path / "f", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) >= len(BODY) / module.CHUNK_BYTES


def test_the_second_mirror_serves_where_the_first_is_dead(server: _Server, dead_url: str, tmp_path: Path) -> None:
    target = tmp_path / "file.zip"
    download([dead_url, server.url("/file.zip")], target, checksum=SHA256)
    assert target.read_bytes() == BODY


def test_a_busy_server_is_asked_again(server: _Server, tmp_path: Path) -> None:
    server.fail_first["/file.zip"] = module.ATTEMPTS - 1
    download([server.url("/file.zip")], tmp_path / "file.zip", checksum=SHA256)
    assert server.hits["/file.zip"] == module.ATTEMPTS


@pytest.mark.parametrize(
    ("page", "checksum", "expected", "hits"),
    [
        ((404, b"gone", 0), None, ["got HTTP status 404"], 1),
        ((500, b"oops", 0), None, ["got HTTP status 500", "3 attempts"], 3),
        ((200, BODY, 1000), SHA256, [f"expected {len(BODY)} bytes, got {len(BODY) - 1000}", "3 attempts"], 3),
        ((200, BODY, 1000), None, [f"expected {len(BODY)} bytes, got {len(BODY) - 1000}"], 3),
        ((200, BODY, 0), WRONG, [f"expected {WRONG}", f"got {SHA256.removeprefix('sha256:')}"], 1),
        ((200, BODY, 0), "md5:" + "0" * 32, [f"got {MD5.removeprefix('md5:')}"], 1),
    ],
)
def test_a_fault_names_the_url_and_leaves_nothing(
    server: _Server,
    tmp_path: Path,
    page: tuple[int, bytes, int],
    checksum: str | None,
    expected: list[str],
    hits: int,
) -> None:
    server.pages["/file.zip"] = page
    url = server.url("/file.zip")
    with pytest.raises(DataError) as caught:
        download([url], tmp_path / "deep" / "raw" / "file.zip", checksum=checksum)
    for part in [url, "file.zip could not be downloaded", "Try again later", *expected]:
        assert part in str(caught.value)
    assert server.hits["/file.zip"] == hits
    assert list(tmp_path.iterdir()) == []


def test_all_mirrors_are_named_when_none_serves(server: _Server, dead_url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        download([dead_url, server.url("/none.zip")], tmp_path / "file.zip")
    message = str(caught.value)
    assert f"{dead_url}: no answer" in message
    assert "refused" in message
    assert f"{server.url('/none.zip')}: expected the file, got HTTP status 404" in message


@pytest.mark.parametrize(
    "text",
    [
        MD5.removeprefix("md5:"),
        f"{SHA256.removeprefix('sha256:')}  file.zip\n",
        f"MD5 (file.zip) = {MD5.removeprefix('md5:').upper()}\n",
        f"{'1' * 32}  other.zip\n{MD5.removeprefix('md5:')}  file.zip\n",
    ],
)
def test_the_published_checksum_is_used(server: _Server, tmp_path: Path, text: str) -> None:
    server.pages["/sum"] = (200, text.encode(), 0)
    assert published_checksum(server.url("/sum"), "file.zip") in (MD5, SHA256)
    target = tmp_path / "file.zip"
    download([server.url("/file.zip")], target, checksum_url=server.url("/sum"))
    server.pages["/file.zip"] = (200, BODY[:-1], 0)
    with pytest.raises(DataError, match=r"expected (md5|sha256):"):
        download([server.url("/file.zip")], tmp_path / "second" / "file.zip", checksum_url=server.url("/sum"))
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("page", "match"),
    [
        ((404, b"", 0), "checksum of file.zip could not be downloaded"),
        ((200, b"<html>welcome</html>", 0), "got 0 in '<html>welcome</html>'"),
        ((200, f"{'1' * 32} a\n{'2' * 32} b".encode(), 0), "expected one md5 or sha256 checksum of file.zip"),
    ],
)
def test_no_file_is_fetched_without_its_published_checksum(
    server: _Server, tmp_path: Path, page: tuple[int, bytes, int], match: str
) -> None:
    server.pages["/sum"] = page
    with pytest.raises(DataError, match=match):
        download([server.url("/file.zip")], tmp_path / "file.zip", checksum_url=server.url("/sum"))
    assert server.hits["/file.zip"] == 0


@pytest.mark.parametrize("checksum", ["abc", "sha1:" + "0" * 40, "md5:" + "0" * 31, "sha256:" + "g" * 64])
def test_a_checksum_that_is_none_is_refused(tmp_path: Path, checksum: str) -> None:
    with pytest.raises(ConfigError, match="write 'sha256:' and 64"):
        download(["http://127.0.0.1:9/x"], tmp_path / "x", checksum=checksum)


def test_no_url_and_unusable_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no URL to download x from"):
        download([], tmp_path / "x")
    with pytest.raises(DataError, match="nonsense: Invalid URL"):
        download(["nonsense"], tmp_path / "x")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be made"):
        download(["http://127.0.0.1:9/x"], tmp_path / "file" / "x")
