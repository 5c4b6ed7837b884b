"""Workers of one cell equal one process: weights, log and decisions, in float64 up to the order of sums."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from crew_rig import CASES, EQUAL, Answer, answers, workers

from bench import plugins
from bench.engine.crew import Crew, current, divides, leads, once


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        found = answers(tmp_path_factory.mktemp("single"))
    torch.set_num_threads(threads)
    return found


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def several(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Answer]]:
    with workers(request.param, tmp_path_factory.mktemp("several")) as found:
        yield found


def test_the_cases_have_every_backbone() -> None:
    assert set(plugins.backbones().names()) <= {name.partition("[")[0] for name in CASES}


@pytest.mark.parametrize("name", EQUAL)
def test_workers_equal_one_process(single: Answer, several: list[Answer], name: str) -> None:
    wanted = single[name]
    assert isinstance(wanted, dict)
    for answer in several:
        found = answer[name]
        assert isinstance(found, dict), found
        assert found.keys() == wanted.keys()
        for part, value in wanted.items():
            np.testing.assert_allclose(found[part], value, rtol=0, atol=1e-10, err_msg=part)


@pytest.mark.parametrize("name", EQUAL)
def test_workers_equal_each_other_to_the_last_bit(several: list[Answer], name: str) -> None:
    first, *others = several
    for other in others:
        for part, value in first[name].items():  # type: ignore[union-attr]
            np.testing.assert_array_equal(other[name][part], value, err_msg=part)  # type: ignore[index]


def test_the_rows_of_a_batch_matter_to_the_cases(single: Answer) -> None:
    """Else a worker that forgot the others would pass."""
    for name, other in (("dnn", "dnn, gates of rows"), ("dnn", "dnn, slopes"), ("dnn", "stops early")):
        assert np.abs(single[name]["logits"] - single[other]["logits"]).max() > 1e-3  # type: ignore[index]
    assert single["stops early"]["history"].shape[0] < 12  # type: ignore[index]


def test_the_first_worker_speaks_for_all(several: list[Answer]) -> None:
    assert [answer["told"] for answer in several] == [
        {"first": 0, "own": rank, "alone": 1} for rank in range(len(several))
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("draws", r"the backbone draws random numbers in another way than by torch\.nn\.functional\.dropout"),
        ("norms", r"the backbone's norm \(BatchNorm1d\) takes statistics of a batch"),
        ("wild", "came to different numbers"),
    ],
)
def test_what_cannot_be_divided_is_refused(several: list[Answer], name: str, reason: str) -> None:
    for answer in several:
        assert isinstance(answer[name], str)
        with pytest.raises(ValueError, match=reason):
            raise ValueError(answer[name])


def test_one_process_has_no_crew() -> None:
    assert current() is None
    assert leads()
    assert once(lambda: 3, str, int) == 3
    assert divides(lambda: 4)() == 4


@pytest.mark.parametrize(("n", "size"), [(0, 2), (1, 2), (7, 3), (8, 4), (3, 5)])
def test_parts_cover_all_rows_once_and_differ_by_one_at_most(n: int, size: int) -> None:
    parts = [Crew(0, size).part(n, rank) for rank in range(size)]
    assert [row for part in parts for row in range(n)[part]] == list(range(n))
    counts = [part.stop - part.start for part in parts]
    assert max(counts) - min(counts) <= 1
