from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.prepare import dictionaries
from bench.data.prepare.dictionaries import NumberDictionary, TextDictionary, due
from bench.data.prepare.spill import Spill
from bench.data.raw.texts import as_texts, pack

BLOCKS = st.lists(st.lists(st.sampled_from([f"{i:x}" for i in range(40)]), unique=True), min_size=1, max_size=8)


def fill(dictionary, blocks):
    for block in blocks:
        dictionary.add(pack(pa.array(block, type=pa.string())))
        if dictionary.is_due:
            dictionary.merge()


def check(dictionary, blocks):
    dictionary.finish()
    values = as_texts(dictionary.values).to_pylist()
    assert len(set(values)) == len(values) and set(values) == {text for block in blocks for text in block}
    for number, block in enumerate(blocks):
        missing, *places = dictionary.table(number)
        assert missing == 0 and [values[place - 1] for place in places] == block
    return values


@given(blocks=BLOCKS)
@pytest.mark.parametrize("wait", [1, 10, 1 << 19])
@pytest.mark.parametrize("kind", [NumberDictionary, TextDictionary])
def test_every_block_finds_its_values_again(tmp_path_factory, kind, wait, blocks):
    with Spill(tmp_path_factory.getbasetemp()) as spill, pytest.MonkeyPatch.context() as patch:
        patch.setattr(dictionaries, "MERGE_VALUES", wait)
        dictionary = kind(spill)
        fill(dictionary, blocks)
        values = check(dictionary, blocks)
    if kind is NumberDictionary:
        assert values == sorted(values), "codes of numbers follow their order"


@given(blocks=BLOCKS)
@pytest.mark.parametrize("wait", [1, 1 << 19])
def test_a_field_that_meets_a_long_text_changes_over(tmp_path_factory, wait, blocks):
    with Spill(tmp_path_factory.getbasetemp()) as spill, pytest.MonkeyPatch.context() as patch:
        patch.setattr(dictionaries, "MERGE_VALUES", wait)
        numbers = NumberDictionary(spill)
        fill(numbers, blocks)
        texts = numbers.to_texts()
        more = [["a text of many letters", "0"], ["1", "0"]]
        fill(texts, more)
        check(texts, [*blocks, *more])


def test_nothing_is_merged_while_all_together_hold_little(tmp_path, monkeypatch):
    monkeypatch.setattr(dictionaries, "MERGE_VALUES", 3)
    monkeypatch.setattr(dictionaries, "WAITING_BYTES", 40)
    with Spill(tmp_path) as spill:
        few, many = NumberDictionary(spill), NumberDictionary(spill)
        few.add(pack(pa.array(["a"])))
        many.add(pack(pa.array(["a", "b", "c"])))
        assert (few.waiting_bytes, many.waiting_bytes) == (8, 24)
        assert due([few, many]) == []
        few.add(pack(pa.array(["b"])))
        assert due([few, many]) == [many]
        many.merge()
        assert many.waiting_bytes == 0 and due([few, many]) == []
