from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

import backbones
import methods
from bench import plugins
from bench.errors import ConfigError
from bench.plugins import check_layout
from bench.registry import Entry, MethodEntry, Registry

TABLE = {
    "first": Entry("json:loads", "First"),
    "second": Entry("json:dumps", "Second"),
    "gone": Entry("no_such_module:x", "Gone"),
}


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Announce entry points: ``install(group, name="module:attribute", ...)``; ``plug`` is a module of entries."""
    (tmp_path / "plug.py").write_text(
        "from bench.registry import Entry, MethodEntry\n"
        "good = Entry('json:load', 'Good')\n"
        "method = MethodEntry('zoo:Good', 'Good method')\n"
        "text = 'not an entry'\n"
    )
    (tmp_path / "plug_broken.py").write_text("def make():\n    raise OSError('no licence')\n\nmake()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "plug", raising=False)

    def announce(group: str, **points: str) -> None:
        known = EntryPoints(EntryPoint(name.replace("_", "-"), value, group) for name, value in points.items())
        monkeypatch.setattr("importlib.metadata.entry_points", known.select)

    return announce


def make(entry_type: type[Any] = Entry) -> Registry[Any]:
    return Registry("thing", "bench.things", TABLE, entry_type)


def test_the_table_is_kept_in_order_and_loaded_on_demand() -> None:
    known = make()
    assert known.names() == ["first", "second", "gone"]
    assert [known.order(name) for name in known.names()] == [0, 1, 2]
    assert known.load("second") is sys.modules["json"].dumps
    assert known.origin("first") == "json:loads"
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        known.load("gone")


def test_unknown_names_are_refused_with_the_near_one_and_all() -> None:
    with pytest.raises(ConfigError) as caught:
        make().entry("secnd")
    assert str(caught.value) == "thing 'secnd' is unknown. Did you mean 'second'? Known: first, second, gone."


def test_entry_points_follow_the_table_sorted_by_name(install: Callable[..., None]) -> None:
    install("bench.things", zebra="plug:good", ant="plug:good")
    known = make()
    assert known.names() == ["first", "second", "gone", "ant", "zebra"]
    assert known.load("zebra") is sys.modules["json"].load
    assert known.origin("ant") == "entry point plug:good"
    assert known.broken == []


def test_entry_points_of_other_groups_are_not_read(install: Callable[..., None]) -> None:
    install("bench.others", ant="plug_broken:x")
    assert make().broken == []


def test_a_broken_plug_in_is_kept_with_its_traceback_and_breaks_nothing(install: Callable[..., None]) -> None:
    install("bench.things", ant="plug_broken:x", bee="plug:good", cow="plug:absent", dog="nowhere:x")
    known = make()
    assert known.names() == ["first", "second", "gone", "bee"]
    broken = {plugin.name: plugin for plugin in known.broken}
    assert broken["ant"].reason == "OSError: no licence"
    assert "plug_broken.py" in broken["ant"].traceback
    assert "in make" in broken["ant"].traceback
    assert "AttributeError" in broken["cow"].reason
    assert "nowhere" in broken["dog"].reason
    with pytest.raises(ConfigError, match=r"thing 'ant' cannot be used: OSError: no licence[\s\S]*in make"):
        known.entry("ant")


def test_a_taken_name_is_refused_and_the_first_one_stays(install: Callable[..., None]) -> None:
    install("bench.things", first="plug:good")
    known = make()
    assert known.entry("first") is TABLE["first"]
    assert [plugin.name for plugin in known.broken] == ["first"]
    assert "taken by json:loads" in known.broken[0].reason
    assert "plug:good" in known.broken[0].reason


def test_two_plug_ins_of_one_name_keep_one_whatever_their_order(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [EntryPoint("ant", value, "bench.things") for value in ("plug:good", "plug:method")]
    for order in (points, points[::-1]):
        monkeypatch.setattr("importlib.metadata.entry_points", lambda group, order=order: order)
        known = make()
        assert known.origin("ant") == "entry point plug:good"
        assert "taken by entry point plug:good" in known.broken[0].reason


def test_an_entry_point_that_is_no_entry_is_refused(install: Callable[..., None]) -> None:
    install("bench.things", ant="plug:text", bee="plug:good", cow="plug:method")
    known = make(MethodEntry)
    assert known.names() == ["first", "second", "gone", "cow"]
    assert [plugin.reason for plugin in known.broken] == [
        "plug:text is a str, not a MethodEntry",
        "plug:good is a Entry, not a MethodEntry",
    ]


def test_the_own_tables_come_first_in_their_order(
    install: Callable[..., None], fresh_registries: Callable[[], None]
) -> None:
    install("bench.methods", ant="plug:method")
    fresh_registries()
    assert plugins.methods().names() == [*methods.TABLE, "ant"]
    assert plugins.backbones().names() == [*backbones.TABLE]


@pytest.mark.parametrize("kind", ["methods", "backbones"])
def test_every_own_entry_loads_to_a_class_with_parameters(kind: str) -> None:
    known: Registry[Any] = getattr(plugins, kind)()
    for name in known.names():
        assert isinstance(known.load(name).Params, type), name


def test_the_project_s_own_layout_passes() -> None:
    check_layout()


def test_a_folder_that_shadows_a_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name == "plots" or name.startswith("plots.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigError) as caught:
        check_layout()
    assert f"'plots' resolves to {tmp_path / 'plots'}" in str(caught.value)
    assert "rename" in str(caught.value)
