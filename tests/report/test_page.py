"""The page of a run: complete, self-contained, the same for the same records, and quiet in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.records import CellRecord, RunFolder, load_frame
from bench.report.build import build_report
from bench.report.formats.html_cells import cells_part
from bench.report.formats.html_tables import Tables
from bench.tables.overall import overall_tables
from bench.tables.titles import Titles

pytestmark = pytest.mark.figures
Cell = Callable[..., CellRecord]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Tags, ids and links of a page; complains about tags that are left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[dict[str, str]] = []
        self.groups: dict[str, list[str]] = {}
        self.loads: list[str] = []
        self.uses: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in ("meta", "link", "br", "path", "use", "rect", "image", "line"):
            self.open.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.uses += [given["href"]] if tag == "use" else []
        if tag == "a":
            self.links.append(given)
        if tag == "details" and "data-cells" in given:
            self.groups[given["id"]] = given["data-cells"].split(" ")
        if tag == "tr":
            self.rows.append([])
        self.loads += [given[name] for name in ("src", "href") if name in given and tag not in ("a", "use")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids += [given["id"]] if "id" in given else []
        self.uses += [given["href"]] if tag == "use" else []

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        elif tag not in ("path", "use", "rect", "image", "line"):
            raise AssertionError(f"</{tag}> closes {self.open[-1:]}")

    def handle_data(self, data: str) -> None:
        if self.open and {"td", "th"} & set(self.open[-4:]) and self.rows:
            self.rows[-1].append(data.strip())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cell: Cell) -> RunFolder:
    """A run with its report, which the tests read."""
    run = RunFolder(tmp_path_factory.mktemp("page") / "run")
    for seed in (0, 1):
        run.write(cell(seed=seed))
        run.write(cell("alpha", seed=seed, auc=0.7 + seed / 100, field_scores=[0.25, 0.75], kept_fields=[1]))
    run.write(cell("beta", status="failed", reason="<b>no & never</b>", traceback="line 1\n  <line 2>"))
    assert build_report(run, Titles())[-1] == run.path / "report.html"
    return run


def built(run: RunFolder) -> str:
    return (run.path / "report.html").read_text(encoding="utf-8")


def test_every_number_leads_to_the_cells_behind_it(run: RunFolder) -> None:
    page = Page(built(run))
    assert len(page.ids) == len(set(page.ids))
    hashes = {record.config_hash[:16] for record in run.records()}
    assert {name.removeprefix("cell-") for name in page.ids if name.startswith("cell-")} == hashes
    for link in page.links:
        target = link["href"]
        assert target.removeprefix("#") in page.ids if target.startswith("#") else (run.path / target).is_file()
    cells = [link for link in page.links if link["href"].startswith("#cell-")]
    numbers = [
        link["data-cells"].split(" ") if "data-cells" in link else page.groups.get(link["href"][1:], [link["href"][6:]])
        for link in cells
    ]
    by_hash = {record.config_hash[:16]: record for record in run.records()}
    assert sum(len(found) > 1 for found in numbers) > 10
    for link, found in zip(cells, numbers, strict=True):
        assert link["href"] == f"#cell-{found[0]}"
        assert [by_hash[one].seed for one in found] in ([0], [0, 1])
        assert len({by_hash[one].label for one in found}) == 1


def test_a_number_of_other_cells_than_its_first_one_says_which(cell: Cell) -> None:
    one, two, three = (cell(seed=seed) for seed in (1, 2, 3))
    tables, hashes = Tables(), [record.config_hash for record in (one, two, three)]
    links = [tables._link(cells, "x") for cells in (hashes, hashes, hashes[:1], hashes[1:2], hashes[1:])]
    names = [record.config_hash[:16] for record in (one, two, three)]
    assert links == [
        f'<a href="#cell-{names[0]}">x</a>',
        f'<a href="#cell-{names[0]}">x</a>',
        f'<a href="#cell-{names[0]}" data-cells="{names[0]}">x</a>',
        f'<a href="#cell-{names[1]}">x</a>',
        f'<a href="#cell-{names[1]}" data-cells="{names[1]} {names[2]}">x</a>',
    ]
    text = cells_part([record.to_dict() for record in (one, two, three)], tables.behind)
    assert Page(text).groups == {f"cell-{names[0]}": names}


def test_what_all_cells_of_a_place_say_is_said_once_and_nothing_of_a_record_is_lost(cell: Cell) -> None:
    records = [cell(label, seed=seed) for label in ("alpha", "beta") for seed in (0, 1)]
    records.append(cell("alpha", seed=0, backbone="other"))
    text = cells_part([record.to_dict() for record in records], {})
    parts = dict(re.findall(r'<details id="([^"]+)".*?<pre>(.*?)</pre></details>', text, re.DOTALL))
    common = [parts.pop(name).split("\n") for name in list(parts) if name.startswith("common-")]
    assert len(common) == 1, "one cell has nothing in common with itself"
    assert "dataset: " in common[0][0] and not any(line.startswith(("seed: ", "label: ")) for line in common[0])
    for record in records:
        said = parts[f"cell-{record.config_hash[:16]}"].split("\n") + (common[0] if record.backbone != "other" else [])
        names = [line.partition(": ")[0] for line in said]
        left_out = ("traceback", "field_scores", "field_names", "phases", "versions", "host")
        wanted = {name for name, value in record.to_dict().items() if value is not None and name not in left_out}
        assert sorted(names) == sorted(wanted)
        assert f"seed: {record.seed}" in said


def test_it_shows_the_numbers_of_the_tables(run: RunFolder) -> None:
    page = Page(built(run))
    (table,) = overall_tables(load_frame(run), Titles())
    for row in table.rows:
        texts = [[row.title, *(value.text for value in row.values)]]
        shown = [[text.split("±")[0].strip() for text in cells if text] for cells in page.rows]
        assert any(cells[: len(texts[0])][0] == texts[0][0] for cells in shown if cells)
        for text in texts[0][1:]:
            assert any(text in cells for cells in shown), text


def test_failures_are_named_and_nothing_of_a_record_is_taken_for_markup(run: RunFolder) -> None:
    text = built(run)
    assert "failed: &lt;b&gt;no &amp; never&lt;/b&gt;" in text
    assert "&lt;line 2&gt;" in text
    assert "<b>no" not in text
    assert "1 failed, 4 ok" in text


def test_it_needs_nothing_else(run: RunFolder) -> None:
    page = Page(built(run))
    assert page.uses and {f"#{name}" for name in page.ids} >= set(page.uses)
    painted = set(re.findall(r"url\(#([^)]+)\)", built(run)))
    assert len(painted) > 1 and "<pattern" in built(run) and set(page.ids) >= painted
    assert set(page.loads) <= {"data:,"}
    addresses = set(re.findall(r'https?://[^"<>\s]+', built(run)))
    assert {address.split("/")[2] for address in addresses} <= {
        "www.w3.org",
        "purl.org",
        "creativecommons.org",
    }  # names


def browse(file: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    assert BROWSER is not None
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    argv = [BROWSER, *quiet, f"--user-data-dir={folder}", "--enable-logging=stderr", "--dump-dom", file.as_uri()]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_real_browser_opens_it_without_an_error_or_a_request(run: RunFolder, tmp_path: Path) -> None:
    text = built(run)
    done = browse(run.path / "report.html", tmp_path / "profile")
    assert "CONSOLE" not in done.stderr
    assert "What has no result" in done.stdout
    asks = tmp_path / "asks.html"  # what this test would see of a page that asks for more
    asks.write_text(text.replace("</body>", '<img src="http://127.0.0.1:9/x.png"></body>'), encoding="utf-8")
    assert "CONSOLE" in browse(asks, tmp_path / "profile").stderr


def test_tables_and_figures_that_may_be_too_wide_say_so_and_can_be_scrolled_by_keys(run: RunFolder) -> None:
    text = built(run)
    assert text.count('<p class="hint') > 3
    assert text.count("<table") == text.count('<div class="scroll" tabindex="0" role="region"')
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert "position: sticky" in style
    assert "@media print" in style
    assert "@media screen and (prefers-color-scheme: dark)" in style, "paper is never dark"


def test_figures_have_the_page_as_their_ground(run: RunFolder) -> None:
    figures = re.findall(r"<figure>.*?</figure>", built(run), re.DOTALL)
    assert figures
    for figure in figures:
        assert "fill: #ffffff" not in figure
        width = re.search(r'<svg[^>]* width="([\d.]+)pt"', figure)
        least = re.search(r"--least:(\d+)px", figure)
        assert width is not None
        assert least is not None
        # letters of 6 points, the smallest, are then 8.8 pixels high: 6 * 96 / 72 * 1.1
        assert int(least[1]) == round(float(width[1]) * 96 / 72 * 1.1)


def test_the_page_is_whole_without_its_script(run: RunFolder) -> None:
    text = built(run)
    page = Page(re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))
    assert page.rows == Page(text).rows
    for link in page.links:
        assert link["href"].removeprefix("#") in page.ids or not link["href"].startswith("#")
    assert "display: none" not in text.partition("<body>")[2]
