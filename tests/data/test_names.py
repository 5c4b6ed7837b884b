"""Names from cards form paths: none leads elsewhere, hides, or is longer than file systems take."""

from __future__ import annotations

import json

import pytest
from plain_reference import write_card

from bench.data.store.store import store_folder
from bench.errors import ConfigError

CARD = """
name = {name}
[raw.columns]
y = "label"
c = "categorical"
"""
HARMFUL = [
    "../x",
    "/x",
    "a/b",
    "a\\b",
    "a\0b",
    "..",
    ".",
    ".a",
    "",
    "raw",
    "~",
    "a b",
    "a:b",
    "a\nb",
    "a\u202eb",
    "*",
    "x" * 300,
]


@pytest.mark.parametrize("name", HARMFUL)
def test_a_card_cannot_have_a_name_that_does_harm_as_a_path(tmp_path, name):
    with pytest.raises(ConfigError, match=r"own.toml: name = ") as caught:
        write_card(tmp_path, CARD.format(name=json.dumps(name)))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["a", "a.b-c_D", "клики", "x" * 100])
def test_the_store_of_any_other_lies_right_below_the_folder_of_data(tmp_path, name):
    card = write_card(tmp_path, CARD.format(name=json.dumps(name)), min_count="3")
    assert store_folder(tmp_path, card).parent == tmp_path
    store_folder(tmp_path, card).mkdir()


@pytest.mark.parametrize(
    "url",
    [
        "https://x.org/..",
        "https://x.org/",
        "https://x.org/.a",
        "https://x.org/a\0b",
        "https://x.org/a\\b",
        "https://x.org/" + "a" * 200,
    ],
)
def test_a_download_is_not_kept_under_a_name_that_does_harm(tmp_path, url):
    text = CARD.format(name='"mine"') + f"[[download]]\nurl = {json.dumps(url)}\n"
    with pytest.raises(ConfigError, match="must end in the file's name") as caught:
        write_card(tmp_path, text)
    assert str(caught.value).isprintable()
