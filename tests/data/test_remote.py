"""Raw data that lie elsewhere: in fsspec's memory, and behind a web server of this machine."""

from __future__ import annotations

import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest
from plain_reference import manifest_of

from bench.addresses import is_remote, without_secrets, words_without_secrets
from bench.data.prepare import remote

CARD = 'name = "far"\n[raw]\n[raw.columns]\ny = "label"\nc = "categorical"\nday = "categorical"\n'
ROWS = [f"{i % 2},{i % 5}" for i in range(120)]
SECRET = "hunter2"


def table(rows):
    return "\n".join(["y,c", *rows]).encode()


@pytest.fixture
def memory():
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for place in range(12):
        system.pipe(f"/clicks/day={place}/part.csv", table(ROWS[10 * place : 10 * place + 10]))
    system.pipe("/clicks/_SUCCESS", b"")
    yield system
    system.rm("/clicks", recursive=True)


@pytest.fixture
def near(bench):
    """The store of the same rows from a folder of this machine."""
    Path("far.toml").write_text(CARD)
    for place in range(12):
        Path(f"near/day={place}").mkdir(parents=True)
        Path(f"near/day={place}/part.csv").write_bytes(table(ROWS[10 * place : 10 * place + 10]))
    assert bench("prepare", "far.toml", "--raw", "near", "--data-dir", "near-data").code == 0
    return manifest_of(Path("near-data/far"))


@pytest.mark.parametrize("address", ["memory://clicks", "memory://clicks/day=*/*.csv", "memory://clicks/*"])
def test_folders_and_patterns_elsewhere_are_as_here(bench, memory, near, address):
    made = bench("prepare", "far.toml", "--raw", address)
    assert made.out.startswith("data/far: 120 rows")
    assert f"copying {address} to data while it is read" in made.err
    manifest = manifest_of(Path("data/far"))
    assert manifest["files"] == near["files"]
    assert [one["partition"] for one in manifest["raw"]] == [f"day={place}" for place in range(12)]
    assert "data/far is there already" in bench("prepare", "far.toml", "--raw", address).err
    assert [path.name for path in Path("data").iterdir() if not path.name.startswith(".far")] == ["far"]


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
        allowed = self.headers.get("Authorization") == wanted or self.path.endswith(f"?key={SECRET}")
        there = self.path.partition("?")[0] == "/day=3/t.csv"
        self.send_response(200 if allowed and there else 404 if allowed else 403)
        self.end_headers()
        if allowed and there:
            self.wfile.write(table(ROWS))

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


def test_a_file_of_a_web_server_and_no_secret_is_kept(bench, server):
    Path("far.toml").write_text(CARD)
    for address in (f"http://me:{SECRET}@{server}/day=3/t.csv", f"http://{server}/day=3/t.csv?key={SECRET}"):
        done = bench("prepare", "far.toml", "--raw", address, "--force")
        assert done.out.startswith("data/far: 120 rows")
        assert f"copying http://{server}/day=3/t.csv to data" in done.err
        assert SECRET not in done.out + done.err + json.dumps(manifest_of(Path("data/far")))
    assert manifest_of(Path("data/far"))["raw"][0]["name"] == "t.csv"
    for address, said in (
        (f"http://{server}/day=3/t.csv?key=x{SECRET}y", "403"),
        (f"http://{server}/t?key={SECRET}", "404"),
    ):
        done = bench("prepare", "far.toml", "--raw", address, "--force")
        assert (done.code, f"the server says {said}" in done.err, SECRET in done.err) == (2, True, False)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("memory://none.csv", "memory://none.csv: there is no such file or folder"),
        ("memory://none/*.csv", "memory://none/*.csv: there is no such file or folder"),
        pytest.param(
            f"s3://me:{SECRET}@bucket/t.csv",
            "s3://bucket/t.csv: fsspec needs another package for s3:// (s3fs for s3",
            marks=pytest.mark.skipif(find_spec("s3fs") is not None, reason="s3fs is there"),
        ),
        (f"nowhere://{SECRET}@t.csv", "nowhere://t.csv: fsspec knows no nowhere://"),
        ("http://127.0.0.1:1/t.csv", "http://127.0.0.1:1/t.csv: cannot be read (URLError)"),
    ],
)
def test_what_cannot_be_fetched_is_named_without_secrets(bench, memory, address, said):
    Path("far.toml").write_text(CARD)
    done = bench("prepare", "far.toml", "--raw", address)
    assert (done.code, said in done.err, SECRET in done.err) == (2, True, False), done.err
    assert not Path("data").exists()


def test_without_fsspec_the_extra_is_named(bench, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    Path("far.toml").write_text(CARD)
    done = bench("prepare", "far.toml", "--raw", "s3://bucket/t.csv")
    assert (done.code, "pip install 'ctr-field-bench[remote]'" in done.err) == (2, True)


def test_a_copy_that_does_not_fit_is_refused(bench, memory, monkeypatch):
    monkeypatch.setattr(remote.shutil, "disk_usage", lambda _: type("Free", (), {"free": 200}))
    Path("far.toml").write_text(CARD)
    done = bench("prepare", "far.toml", "--raw", "memory://clicks")
    assert (done.code, "would take more than half of what is free" in done.err) == (2, True)
    assert not Path("data").exists()


def test_files_of_both_kinds_do_not_mix(bench):
    Path("far.toml").write_text(CARD)
    Path("t.csv").write_bytes(table(ROWS))
    assert "not both" in bench("prepare", "far.toml", "--raw", "t.csv", "--raw", "memory://t.csv").err


def test_addresses_and_their_secrets_are_told_apart():
    assert [is_remote(text) for text in ("s3://b/k", "https://h", "c://x", "a/b", "x://y", "data:1")] == [
        *(True, True, False, False, False, False)
    ]
    assert without_secrets("https://me:pw@host/a@b?sig=x#y") == "https://host/a@b"
    assert without_secrets("s3://key:pw@b/day=*/p-?.csv") == "s3://b/day=*/p-"
    assert without_secrets("a?b@c") == "a?b@c"
    words = ["run", "--raw=https://me:pw@h/t?x", "--raw", "s3://k:s@b/t", "--set", "lr=1"]
    assert words_without_secrets(words) == ["run", "--raw=https://h/t", "--raw", "s3://b/t", "--set", "lr=1"]
