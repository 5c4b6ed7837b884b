"""``python -m bench prepare`` as a user meets it: exit status, messages, what lies on disk."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import time
import zipfile
from functools import partial

import pytest
from plain_reference import criteo_lines

from bench.data.card.card import load_card
from bench.data.prepare import workspace
from bench.data.prepare.fetch import fetch_raw
from bench.data.prepare.prepare import prepare
from bench.data.prepare.ready import make_ready
from bench.data.store.store import store_folder
from bench.datasets import resolve_dataset
from bench.lease import Leases, Owner

OWN = """
name = "mine"
[raw.columns]
y = "label"
c = "categorical"
"""


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("\n".join(criteo_lines(300)))
    return path


def test_a_data_set_is_prepared_once_and_again_when_forced(bench, raw):
    done = bench("prepare", "criteo", "--raw", str(raw))
    assert done.code == 0, done.err
    assert done.out.startswith("data/criteo: 300 rows (train 216, valid 54, test 30), ")
    assert "39 fields" in done.out and "rows/s" in done.out
    assert done.err.splitlines() == ["reading", "counting", "writing"]
    again = bench("prepare", "criteo", "--raw", str(raw))
    assert (again.code, again.out) == (0, "")
    assert "data/criteo is there already (300 rows); --force makes it anew" in again.err
    assert bench("prepare", "criteo", "--raw", str(raw), "--force").out.startswith("data/criteo: 300 rows")


@pytest.mark.parametrize("force", [False, True])
def test_a_second_command_waits_for_the_first_and_finds_its_work_done(bench, raw, tmp_path, monkeypatch, force):
    """The first is a process of another host; it ends while the second waits."""
    monkeypatch.setattr(workspace, "POLL_S", 0.01)
    data = tmp_path / "data"
    there = Leases(Owner("there", "another boot", 7, "then"))
    lease = there.take(data / ".criteo.lease")

    def first():
        time.sleep(0.2)
        prepare(resolve_dataset("criteo"), raw, data / "criteo")
        lease.release()

    other = threading.Thread(target=first)
    other.start()
    done = bench("prepare", "criteo", "--raw", str(raw), "--data-dir", str(data), *(["--force"] if force else []))
    other.join()
    there.close()
    assert done.code == 0, done.err
    lines = done.err.splitlines()
    assert lines[0] == f"waiting for another process, which makes {data}/criteo: there, pid 7"
    assert lines[1].startswith("reading" if force else f"{data}/criteo is there already (300 rows)")
    assert [path.name for path in data.iterdir()] == ["criteo"]


def test_a_run_waits_for_the_data_that_another_process_makes(tmp_path):
    card = resolve_dataset("planted[rows=400,fields=4,main=2,interaction=0,redundant=0]")
    folder, lines = store_folder(tmp_path, card), []
    there = Leases(Owner("there", "another boot", 7, "then"))
    lease = there.take(folder.with_name(f".{folder.name}.lease"))

    def tell(line):
        lines.append(line)
        prepare(card, None, folder)
        lease.release()

    make_ready([card], tmp_path, tell)
    there.close()
    assert lines == [f"waiting for another process, which makes {folder}: there, pid 7"]
    made = (folder / "manifest.json").stat()
    make_ready([card], tmp_path, pytest.fail)
    assert (folder / "manifest.json").stat() == made
    assert list(tmp_path.iterdir()) == [folder]


def test_other_raw_data_do_not_replace_a_store_unasked(bench, raw, tmp_path):
    assert bench("prepare", "criteo", "--raw", str(raw)).code == 0
    other = tmp_path / "other.txt"
    other.write_text("\n".join(criteo_lines(200)))
    done = bench("prepare", "criteo", "--raw", str(other))
    assert done.code == 2
    assert "made from train.txt (300 rows), not from other.txt; --force replaces it" in done.err
    assert bench("prepare", "criteo", "--raw", str(other), "--force").out.startswith("data/criteo: 200 rows")


def test_the_command_that_a_refused_store_names_remakes_it(bench, raw, tmp_path):
    folder = tmp_path / "cwd" / "data" / "criteo"
    assert bench("prepare", "criteo", "--raw", str(raw)).code == 0
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"revision": 0}))
    assert bench("prepare", "criteo", "--raw", str(raw)).out.startswith("data/criteo: 300 rows")
    (folder / "ids.npy").write_bytes(b"damaged")
    assert bench("prepare", "criteo", "--raw", str(raw)).out.startswith("data/criteo: 300 rows")
    assert [path.name for path in folder.parent.iterdir()] == ["criteo"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["criteo"], "data set 'criteo' is not prepared"),
        (["criteo", "--download"], "data set 'criteo' cannot be downloaded by a program"),
        (["movielens-1m"], "python -m bench prepare movielens-1m --download"),
        (["crite", "--raw", "x"], "Did you mean 'criteo'?"),
        (["criteo[min_count=0]", "--raw", "x"], "min_count=0 is out of range"),
        (["criteo", "--raw", "/no/such"], "--raw /no/such: there is no such file or folder; check the path"),
        (["movielens-1m", "--raw", ".", "--download"], "--download and --raw . exclude each other; give one"),
        (["my.toml", "--raw", "."], "my.toml: cannot be read (No such file or directory)"),
        (["planted", "--raw", "."], "'planted' is generated: leave out --raw ."),
        (["criteo", "--rows", "500"], "python -m bench prepare 'criteo[rows=500]' --raw PATH"),
        (["planted", "--sample", "0.5"], "data set 'planted' has no parameter 'sample'"),
        (["planted[rows=500]", "--rows", "600"], "--rows 600 and planted[rows=500] exclude each other; give one"),
        (["planted", "--rows", "5"], "rows=5 is out of range"),
        (["criteo", "--raw-out", "x.tsv"], "'criteo' is not generated: there is no raw text to write to x.tsv"),
        (["planted", "--raw-out", ".", "--force"], "--raw-out . is there already; name another file"),
        (["planted", "--raw-out", "x.tsv", "--raw", "."], "--raw-out x.tsv writes generated rows; leave out --raw"),
    ],
)
def test_bad_input_is_named_with_its_mend(bench, tmp_path, argv, message):
    done = bench("prepare", *argv)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ") and message in done.err
    assert list((tmp_path / "cwd").iterdir()) == []


def test_a_bad_line_leaves_no_store(bench, raw, tmp_path):
    raw.write_text(raw.read_text() + "\n1\t2\n")
    done = bench("prepare", "criteo", "--raw", str(raw), "--data-dir", "elsewhere")
    assert done.code == 2
    assert "train.txt: line 301 has 2 columns, the card wants 40 (TAB between them)" in done.err
    assert list((tmp_path / "cwd").iterdir()) == []


def test_a_card_of_ones_own(bench, tmp_path):
    cwd = tmp_path / "cwd"
    (cwd / "my.toml").write_text(OWN)
    (cwd / "table.csv").write_text("y,c\n" + "1,a\n0,b\n" * 50)
    assert bench("prepare", "my.toml", "--raw", "table.csv").out.startswith("data/mine: 100 rows")
    done = bench("prepare", "my.toml[min_count=3]", "--raw", "table.csv")
    assert done.out.startswith("data/mine@")
    missing = bench("prepare", "my.toml[min_count=4]")
    assert "python -m bench prepare 'my.toml[min_count=4]' --raw PATH" in missing.err


def test_progress_on_a_terminal_and_in_lines(bench, raw, monkeypatch):
    monkeypatch.setattr("bench.cli.meter.LINE_EVERY_S", 0.0)
    lines = bench("prepare", "criteo", "--raw", str(raw), "--force").err.splitlines()
    assert {line.partition(":")[0] for line in lines} >= {"reading", "counting", "writing"}
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    shown = bench("prepare", "criteo", "--raw", str(raw), "--force").err
    for word in ("reading", "counting", "writing", "300 rows", "rows/s"):
        assert word in shown


def test_rows_of_generated_data_and_their_raw_text(bench, tmp_path):
    cwd = tmp_path / "cwd"
    assert bench("prepare", "planted", "--rows", "500").out.startswith("data/planted@")
    assert "is there already (500 rows)" in bench("prepare", "planted[rows=500]").err
    done = bench("prepare", "criteo-like", "--rows", "3_000", "--raw-out", "new/rows.tsv")
    assert (done.code, done.err.splitlines()) == (0, ["writing"])
    assert done.out.startswith("new/rows.tsv: 3,000 rows, 0.7 MB; ") and "rows/s" in done.out
    assert [path.name for path in (cwd / "new").iterdir()] == ["rows.tsv"]
    refused = bench("prepare", "criteo-like", "--rows", "2000", "--raw-out", "new/rows.tsv")
    assert refused.code == 2 and "is there already; name another file, or replace a file with --force" in refused.err
    again = bench("prepare", "criteo-like", "--rows", "2000", "--raw-out", "new/rows.tsv", "--force")
    assert again.out.startswith("new/rows.tsv: 2,000 rows")
    elsewhere = ("prepare", "criteo-like", "--rows", "2000", "--device")
    assert bench(*elsewhere, "auto", "--raw-out", "new/auto.tsv").out.startswith("new/auto.tsv: 2,000 rows")
    assert (cwd / "new/auto.tsv").read_bytes() == (cwd / "new/rows.tsv").read_bytes()
    assert "device='tpu' is unknown; choose auto, cpu" in bench(*elsewhere, "tpu").err
    no_device = bench("prepare", "planted", "--rows", "600", "--device", "auto")
    assert no_device.code == 2 and "'planted' is made on the CPU only; leave --device out" in no_device.err
    assert "'avazu' is not generated" in bench("prepare", "avazu", "--device", "auto").err
    assert bench("prepare", "criteo", "--raw", "new/rows.tsv").out.startswith("data/criteo: 2,000 rows")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_a_free_data_set_is_fetched_with_the_checksum_published_beside_it(tmp_path):
    served = tmp_path / "served"
    served.mkdir()
    with zipfile.ZipFile(served / "set.zip", "w") as archive:
        archive.writestr("set/t.csv", "y,c\n" + "1,a\n0,b\n" * 50)
    digest = hashlib.md5((served / "set.zip").read_bytes()).hexdigest()
    (served / "set.zip.md5").write_text(f"{digest}  set.zip\n")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=served)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        path = tmp_path / "own.toml"
        url = f"http://127.0.0.1:{server.server_port}/set.zip"
        path.write_text(OWN.replace("[raw.columns]", f'[[download]]\nurl = "{url}"\n[raw.columns]'))
        fetched = fetch_raw(load_card(path), tmp_path / "data")
        server.shutdown()
    assert fetched == tmp_path / "data" / "raw" / "set.zip"
    assert fetched.read_bytes() == (served / "set.zip").read_bytes()


def test_published_checksums_of_the_movielens_files():
    published = {name: resolve_dataset(name).downloads[0] for name in ("movielens", "movielens-1m", "movielens-100k")}
    assert {name: (one.file_name, one.md5[:4]) for name, one in published.items()} == {
        "movielens": ("ml-20m.zip", "cd24"),
        "movielens-1m": ("ml-1m.zip", "c4d9"),
        "movielens-100k": ("ml-100k.zip", "0e33"),
    }
    assert all(len(one.md5) == 32 for one in published.values())
