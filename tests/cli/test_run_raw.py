"""``run --raw``: the store of a table is made where it is not there."""

from __future__ import annotations

import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.data.prepare import processes
from bench.data.prepare import workers as reading
from bench.data.store.manifest import MANIFEST, read_manifest

CARD = 'name = "clicks"\n[raw]\n[raw.columns]\ny = "label"\nc = "categorical"\nd = "categorical"\n'
RUN = (
    *("--methods", "no-selection", "cardinality", "--backbones", "dnn[mlp=4]", "--seeds", "1", "--epochs", "1"),
    *("--set", "l2=1e-5", "--out", "r"),  # given, so that none need be chosen first
)


@pytest.fixture
def card():
    Path("clicks.toml").write_text(CARD)
    for place in range(2):
        rows = "".join(f"{i % 2},{i % 3},{i % 7}\n" for i in range(100 * place, 100 * place + 100))
        Path(f"part-{place}.csv").write_text(f"y,c,d\n{rows}")
    return "clicks.toml"


def test_a_store_that_is_not_there_is_made_and_one_that_is_there_is_compared(bench, card):
    done = bench("run", "--datasets", card, "--raw", "part-0.csv", "part-1.csv", *RUN)
    assert done.code == 0, done.err
    assert "data/clicks: 200 rows" in done.out
    assert len(list(Path("r/cells").iterdir())) == 2
    assert "raw" not in tomllib.loads(Path("r/run.toml").read_text())
    again = bench("run", "--datasets", card, "--raw", "part-*.csv", *RUN)
    assert (again.code, "data/clicks is there already (200 rows)" in again.err) == (0, True)
    other = bench("run", "--datasets", card, "--raw", "part-0.csv", *RUN)
    assert other.code == 2
    assert "made from part-0.csv, part-1.csv (200 rows), not from part-0.csv" in other.err
    assert "`python -m bench prepare clicks.toml --raw … --force` replaces it" in other.err


def test_a_sample_is_made_by_its_name(bench, card):
    done = bench("run", "--datasets", f"{card}[rows=150]", "--raw", "part-*.csv", *RUN)
    assert (done.code, ": 150 rows" in done.out) == (0, True), done.err
    assert "clicks[rows=150]" in next(Path("r/cells").iterdir()).read_text()


@pytest.mark.parametrize(
    ("datasets", "said"),
    [
        (("planted[rows=500]",), "--raw is for one data set made from files, and --datasets names none"),
        (("clicks.toml", "clicks.toml[min_count=2]"), "names clicks, clicks[min_count=2]: prepare each by itself"),
    ],
)
def test_it_is_for_one_table(bench, card, datasets, said):
    refused = bench("run", "--datasets", *datasets, "--raw", "part-0.csv", *RUN)
    assert (refused.code, said in refused.err) == (2, True), refused.err
    assert not Path("data").exists()
    assert not Path("r").exists()


def test_raw_data_that_are_not_there_leave_nothing(bench, card):
    refused = bench("run", "--datasets", card, "--raw", "none.csv", *RUN)
    assert (refused.code, "--raw none.csv: there is no such file or folder" in refused.err) == (2, True)
    assert not Path("data").exists()


def test_processes_make_the_same_store(bench, card, monkeypatch):
    made, started = [], []
    begin = processes.Processes.__init__

    def counted(crew, spill, pool, mergers, workers):
        started.append(workers)
        begin(crew, spill, pool, mergers, workers)

    monkeypatch.setattr(processes.Processes, "__init__", counted)
    for number in ("1", "2"):
        flags = ("--prepare-workers", number, "--data-dir", f"of-{number}", "--out", f"r-{number}")
        done = bench("run", "--datasets", card, "--raw", "part-*.csv", *RUN, *flags)
        assert done.code == 0, done.err
        assert "prepare_workers" not in tomllib.loads(Path(f"r-{number}/run.toml").read_text())
        folder = Path(f"of-{number}/clicks")
        made.append({file.name: file.read_bytes() for file in folder.iterdir() if file.name != MANIFEST})
        made.append(read_manifest(folder, "") | {"created": ""})
    assert made[:2] == made[2:]
    assert started == [2], "one process starts no other"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("--raw", "a.csv", "--prepare-workers", "two"),
            "--prepare-workers two: write how many processes read the raw",
        ),
        (("--raw", "a.csv", "--prepare-workers", "257"), "1 to 256, or ray, or ray:N"),
        (("--prepare-workers", "2"), "--prepare-workers 2: they read what --raw names, and there is none; add --raw"),
        (("--prepare-workers", "ray:3", "--address", "a:1"), "--prepare-workers ray:3: they read what --raw names"),
        (
            ("--raw", "a.csv", "--prepare-workers", "2", "--address", "a:1"),
            "address=a:1 says nothing to --executor inl",
        ),
    ],
)
def test_workers_that_cannot_be_are_refused(bench, card, flags, said, monkeypatch):
    monkeypatch.setattr(reading, "find_spec", lambda name: "there")
    refused = bench("run", "--datasets", card, *flags, *RUN)
    assert (refused.code, said in refused.err) == (2, True), refused.err
    assert not Path("data").exists() and not Path("r").exists()


def test_without_ray_the_extra_is_named_by_the_flag(bench, card, monkeypatch):
    monkeypatch.setattr(reading, "find_spec", lambda name: None)
    refused = bench("run", "--datasets", card, "--raw", "part-*.csv", "--prepare-workers", "ray", *RUN)
    assert refused.code == 2
    assert "--prepare-workers ray needs ray, which is not installed: pip install 'ctr-field-bench[ray]'" in refused.err


@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: it is an extra")
@pytest.mark.filterwarnings("ignore")
def test_the_address_of_a_cluster_is_for_who_prepares_too(bench, card):
    flags = ("--prepare-workers", "ray:2", "--address", "127.0.0.1:1")
    refused = bench("run", "--datasets", card, "--raw", "part-*.csv", *flags, *RUN)
    assert (refused.code, "address=127.0.0.1:1: no Ray cluster can be used there" in refused.err) == (2, True)
    assert not Path("data/clicks").exists() and not Path("r").exists()
