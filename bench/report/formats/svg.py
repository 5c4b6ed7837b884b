"""Figures as they stand in a page: the same drawings in a third of the bytes, and what they share written once.

Matplotlib writes every letter's shape into every figure and every style into every line, with six decimals of a point.
On a page a hundredth of a point is less than a pixel of any screen or printer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

__all__ = ["Drawings"]

_SPACE = re.compile(r"\{.*\}")
"""Namespace of a name, which HTML does not write."""
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_SHIFT = re.compile(r"translate\(\s*([^\s,)]+)(?:[\s,]+([^\s)]+))?\s*\)")
_PAIRS = {"M": 1, "L": 1, "Q": 2, "C": 3}
"""Points that a command of a path takes; Matplotlib writes these four, and z."""
_LENGTHS = ("x", "y", "width", "height")
_GROUND = ("fill: #ffffff", "fill: none")
"""The page is a figure's ground, light or dark."""


class Drawings:
    """The figures of one page, and the shapes and styles that they share."""

    def __init__(self) -> None:
        """None yet."""
        self._figures = 0
        self._shapes: dict[str, str] = {}
        self._styles: dict[str, str] = {}
        self._sheets: dict[str, None] = {}

    def add(self, svg: bytes) -> str:
        """A figure as markup of the page, which shows it only beside ``style`` and ``shapes``."""
        root = ElementTree.fromstring(svg.decode().replace(*_GROUND))
        for element in root.iter():
            _plain(element)
        shared = {one.attrib["id"]: self._shape(one) for one in _shapes(root)}
        used = {name for element in root.iter() for name in _references(element)}
        for element in root.iter():
            self._slim(element, shared, used, is_root=element is root)
        _prune(root)
        self._figures += 1
        return ElementTree.tostring(root, encoding="unicode").replace(" />", "/>")

    @property
    def style(self) -> str:
        """What the classes of figures stand for."""
        classes = "".join(f".{name}{{{text}}}\n" for text, name in self._styles.items())
        return "".join(f"{text}\n" for text in self._sheets) + classes

    @property
    def shapes(self) -> str:
        """The shapes that figures refer to, as an element that takes no room."""
        if not self._shapes:
            return ""
        paths = "".join(f'<path id="{name}"{given}/>' for given, name in self._shapes.items())
        return f'<svg class="shapes" width="0" height="0" aria-hidden="true"><defs>{paths}</defs></svg>\n'

    def _shape(self, path: Element) -> str:
        """Name in the page of what the figure has under another one; none of a blank."""
        given = path.attrib | {"d": _path(path.get("d", ""))}
        if not given["d"]:
            return ""
        del given["id"]
        if style := given.pop("style", ""):
            given["class"] = self._class(style)
        text = "".join(f' {name}="{value}"' for name, value in sorted(given.items()))
        return self._shapes.setdefault(text, f"s{len(self._shapes)}")

    def _class(self, style: str) -> str:
        text = ";".join(re.sub(r":\s+", ":", part.strip()) for part in style.split(";") if part.strip())
        return self._styles.setdefault(text, f"k{len(self._styles)}")

    def _slim(self, element: Element, shared: dict[str, str], used: set[str], is_root: bool) -> None:
        """Write the attributes of an element short, and take up what it says for the whole page."""
        given = element.attrib
        if element.tag == "style":
            self._sheets[(element.text or "").strip()] = None
        for key, value in given.items():
            given[key] = _REFERENCE.sub(lambda found: f"url(#{self._own(found[1])})", value)
        if style := given.pop("style", ""):
            given["class"] = self._class(style)
        name = given.pop("id", "")
        if name in used:
            given["id"] = self._own(name)
        target = given.pop("href", "")
        to = shared.get(target[1:], self._own(target[1:])) if target.startswith("#") else ""
        if place := f"#{to}" if to else target.partition("#")[0]:
            given["href"] = place
        if not is_root:
            _round(element)

    def _own(self, name: str) -> str:
        """What one figure alone has, by a name that no other figure of the page has."""
        return f"g{self._figures}-{name}"


def _plain(element: Element) -> None:
    """Take namespaces off, and the blanks between elements."""
    element.tag = _SPACE.sub("", element.tag)
    given = {_SPACE.sub("", name): value for name, value in element.attrib.items() if name != "version"}
    element.attrib.clear()
    element.attrib.update(given)
    element.tail = None
    if element.tag != "style" and not (element.text or "").strip():
        element.text = None


def _shapes(root: Element) -> Iterator[Element]:
    """Paths that are defined to be used at several places."""
    for definitions in root.iter("defs"):
        yield from (one for one in definitions if one.tag == "path" and "id" in one.attrib)


def _references(element: Element) -> Iterator[str]:
    """Names that an element refers to."""
    target = element.get("href", "")
    if target.startswith("#"):
        yield target[1:]
    for value in element.attrib.values():
        yield from _REFERENCE.findall(value)


def _prune(element: Element) -> None:
    """Take out what draws nothing: shapes that the page has, descriptions, empty groups, groups around nothing."""
    kept: list[Element] = []
    for child in element:
        _prune(child)
        gone = (element.tag, child.tag) == ("defs", "path") or child.tag in ("metadata", "style")
        gone |= child.tag == "use" and "href" not in child.attrib
        if child.tag == "g" and not child.attrib:
            kept += child
        elif not gone and (len(child) or child.tag not in ("defs", "g")):
            kept.append(child)
    element[:] = kept


def _round(element: Element) -> None:
    """Write lengths with the decimals that can be seen."""
    given = element.attrib
    if "d" in given:
        given["d"] = _path(given["d"])
    for name in _LENGTHS:
        if name in given:
            given[name] = _short(given[name])
    if "transform" not in given:
        return
    moved = _SHIFT.fullmatch(given["transform"])
    if element.tag == "use" and moved and not {"x", "y"} & given.keys():
        del given["transform"]  # a letter's place in its line, in hundredths of the size of letters
        places = {"x": _short(moved[1], 1), "y": _short(moved[2] or "0", 1)}
        given.update({name: place for name, place in places.items() if place != "0"})
    else:
        given["transform"] = _SHIFT.sub(
            lambda found: f"translate({_short(found[1])} {_short(found[2] or '0')})", given["transform"]
        )


def _path(d: str) -> str:
    """A path of absolute commands with fewer letters, blanks and decimals; as it is where it has others."""
    words, parts, at, last, i = d.split(), [], ("", ""), "", 0
    while i < len(words):
        command = words[i]
        if command in "zZ":
            parts.append("z")
            last, at, i = "z", ("", ""), i + 1
            continue
        if command not in _PAIRS:
            return " ".join(words)
        numbers = [_short(word) for word in words[i + 1 : i + 1 + 2 * _PAIRS[command]]]
        i, to = i + 1 + len(numbers), (numbers[-2], numbers[-1])
        if command == "L" and to[1] == at[1]:
            command, numbers = "H", [to[0]]
        elif command == "L" and to[0] == at[0]:
            command, numbers = "V", [to[1]]
        parts.append(_joined("" if command == last else command, numbers))
        last, at = "L" if command == "M" else command, to  # points behind a first one are ends of lines
    return "".join(parts)


def _joined(command: str, numbers: list[str]) -> str:
    """A command with its numbers, apart where they would run into each other."""
    text = command
    for number in numbers:
        text += number if text.isalpha() or number.startswith("-") else f" {number}"
    return text


def _short(number: str, decimals: int = 2) -> str:
    text = f"{float(number):.{decimals}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "0") else text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
