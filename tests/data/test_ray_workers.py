"""Preparation by tasks of a Ray cluster: the bytes are those of one process, and nodes that lack the files say so."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain_reference import criteo_lines, manifest_of

from bench.data.prepare import workers
from bench.data.prepare.blocks import CountJob, EncodeJob
from bench.data.prepare.extents import Extent
from bench.data.prepare.prepare import Settings, prepare
from bench.data.prepare.ray_node import Heap, count_part, encode_part, read_part, release
from bench.data.prepare.reading import Cut, read_parts
from bench.data.prepare.tables import choose_tables
from bench.data.prepare.work import Job, Work
from bench.data.prepare.workers import Workers
from bench.data.raw.sources import RawSource
from bench.datasets import resolve_dataset
from bench.errors import ConfigError, DataError

HOME = Path(__file__).resolve().parents[2]
installed = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: it is an extra")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"--workers ray:2 needs ray, .*: pip install 'ctr-field-bench\[ray\]'"):
        Workers.read("ray:2")


def test_a_heap_gives_back_what_was_parked() -> None:
    heap = Heap()
    first = [np.arange(5, dtype=np.uint16), np.array([], dtype=np.float64), np.array([1.5, -2.0])]
    slots = heap.append_all(first)
    more = heap.append_all([np.array([7], dtype=np.int32)])
    found = [*Heap(heap.data).read_each(slots), *Heap(heap.data).read_each(more)]
    assert [one.tolist() for one in found] == [[0, 1, 2, 3, 4], [], [1.5, -2.0], [7]]
    assert [one.dtype for one in found] == [np.uint16, np.float64, np.float64, np.int32]


def jobs(folder: Path) -> tuple[Work, list[Job]]:
    """The parts of a small table, as they are sent."""
    (folder / "t.tsv").write_text("\n".join(criteo_lines(40)))
    card = resolve_dataset("criteo")
    with RawSource(folder / "t.tsv", card.max_expansion, card.column_names) as source:
        tables = choose_tables(card, source)
        parts = read_parts(source, tables, Cut(2000, folder, {}, apart=True))
        return Work(card, tables, ()), [Job(place, opened.parse, part) for place, opened, part in parts]


def test_what_a_node_does_with_a_part(tmp_path: Path) -> None:
    work, sent = jobs(tmp_path)
    assert len(sent) > 2 and all(isinstance(job.part, Extent) for job in sent)
    rows = 0
    for job in sent:
        (found,), parked = read_part(work, job, str(tmp_path), release())
        n, sizes = found.stored.n_rows, [len(values) for values in found.stored.values]
        each = np.array([size + 1 for size in sizes])
        found_counts = count_part(CountJob(0, found.stored, np.ones(n, dtype=bool), each, ()), parked)
        counts = np.split(found_counts, np.cumsum(each)[:-1])
        assert [int(one.sum()) for one in counts] == [n] * 39
        tables = [np.arange(size + 1, dtype=np.int32) for size in sizes]
        ids, numbers, further = encode_part(EncodeJob(0, found.stored, 0, tables, ()), parked)
        assert [np.bincount(column, minlength=size).tolist() for column, size in zip(ids.T, each, strict=True)] == [
            one.tolist() for one in counts
        ]
        assert numbers.size == further.size == 0
        rows += n
    assert rows == 40


def test_a_node_without_the_file_or_with_another_one_says_so(tmp_path: Path) -> None:
    work, sent = jobs(tmp_path)
    with pytest.raises(DataError, match=r"has version .*, not 0\.0, as here; install the same one on all nodes"):
        read_part(work, sent[0], str(tmp_path), "0.0")
    elsewhere = replace(sent[0], part=replace(sent[0].part, path=tmp_path / "gone.tsv"))
    with pytest.raises(
        DataError, match=r"gone\.tsv: the node .* does not see it: raw files must lie under the same path"
    ):
        read_part(work, elsewhere, str(tmp_path), release())
    text = (tmp_path / "t.tsv").read_text()
    (tmp_path / "t.tsv").write_text(text.replace(text[:1], "2", 1) if text[0] != "2" else text)
    with pytest.raises(DataError, match=r"t\.tsv: is not what it was when it was cut"):
        read_part(work, sent[0], str(tmp_path), release())


@installed
@pytest.mark.parametrize(("asked", "most"), [(1, 1), (3, 3), (0, 5)])
def test_no_more_tasks_fly_than_are_asked_for(monkeypatch: pytest.MonkeyPatch, asked: int, most: int) -> None:
    """Without a number one a core, here four, and one that lies ready."""
    from bench.data.prepare import ray_tasks

    flying: list[int] = []
    seen: list[int] = []

    def start(job: int) -> int:
        flying.append(job)
        seen.append(len(flying))
        return job

    def result(coming: int) -> int:
        flying.remove(coming)
        return coming

    monkeypatch.setattr(ray_tasks, "_result", result)
    monkeypatch.setattr(ray_tasks.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray_tasks, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 4.0}}])
    nobody: Any = None
    crew = ray_tasks.RayTasks(nobody, nobody, nobody, Workers(asked, on_ray=True))
    assert list(crew._map(start, range(9))) == list(range(9))
    assert max(seen) == most


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(HOME))

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    found = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        found.add_node(**node)
        yield found.address
    finally:
        found.shutdown()


def command(raw: Path, data: Path, *more: str) -> Any:
    argv = ["prepare", "criteo", "--raw", str(raw), "--data-dir", str(data), *more]
    env = {**os.environ, "PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    pipes = {"capture_output": True, "text": True, "timeout": 280}
    return subprocess.run([sys.executable, "-m", "bench", *argv], check=False, cwd=raw.parent, env=env, **pipes)


@installed
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_makes_the_store_that_one_process_makes(cluster: str, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("\n".join(criteo_lines(3000)))
    lines = (tmp_path / "t.tsv").read_text().splitlines(keepends=True)
    (tmp_path / "parts").mkdir()
    for number in range(4):
        text = "".join(lines[number * 750 : (number + 1) * 750]).encode()
        name, data = (f"{number}.tsv.gz", gzip.compress(text)) if number % 2 else (f"{number}.tsv", text)
        (tmp_path / "parts" / name).write_bytes(data)
    for raw in ("t.tsv", "parts"):
        wanted = prepare(resolve_dataset("criteo"), tmp_path / raw, tmp_path / "one" / raw, settings=Settings(1 << 16))
        done = command(tmp_path / raw, tmp_path / "many", "--workers", "ray", "--address", cluster, "--force")
        assert done.returncode == 0, done.stderr
        assert manifest_of(tmp_path / "many" / "criteo") | {"created": ""} == manifest_of(wanted) | {"created": ""}
    refused = command(tmp_path / "t.tsv", tmp_path / "many", "--workers", "ray", "--address", "127.0.0.1:1", "--force")
    assert refused.returncode == 2
    assert "no Ray cluster can be used there" in refused.stderr
