"""Names beside points of a panel, placed where they hide neither points nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Label", "put_labels"]

_SIZE_PT, _LETTER_PT, _LINE_PT, _DOT_PT = 6.0, 3.35, 7.2, 3.5
"""Size of the letters; width of one, height of a line, and half of a point's width."""
_NEAR_PT, _FAR_PT = 5.0, 14.0
_OUTSIDE = 4.0
"""How much worse it is to leave the panel than to hide as much of another label."""
_PLACES = tuple(
    (dx * away, dy * away)
    for away in (_NEAR_PT, _FAR_PT, 2 * _FAR_PT)
    for dx, dy in ((-1, 1), (0, 1), (1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0), (0, -1))
)
"""From the point, in points, the preferred first: nothing lies to the left above a front."""
Box = tuple[float, float, float, float]
"""Left, lower, right, upper; in points."""


@dataclass(frozen=True)
class Label:
    """A name at a place of the data."""

    text: str
    x: float
    y: float
    colour: str


def put_labels(axes: Axes, labels: Sequence[Label], points: Sequence[tuple[float, float]]) -> None:
    """Write ``labels``, each where it hides least; the limits of ``axes`` must be final.

    Args:
        axes: the panel.
        labels: the most important first.
        points: all that are drawn, in the data's coordinates.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    scale = 72 / figure.dpi
    (left, lower), (right, upper) = (axes.transAxes.transform([(0, 0), (1, 1)]) * scale).tolist()
    places = (axes.transData.transform([*points, *((label.x, label.y) for label in labels)]) * scale).tolist()
    dots = [_box(x, y, _DOT_PT, _DOT_PT) for x, y in places[: len(points)]]
    taken: list[Box] = []
    for label, (x, y) in zip(labels, places[len(points) :], strict=True):
        lines = label.text.split("\n")
        size = (_LETTER_PT * max(map(len, lines)) / 2, _LINE_PT * len(lines) / 2)
        boxes = [_beside(x, y, dx, dy, size) for dx, dy in _PLACES]
        costs = [_cost(box, (left, lower, right, upper), dots, taken) + i * 0.5 for i, box in enumerate(boxes)]
        best = costs.index(min(costs))
        taken.append(boxes[best])
        _write(axes, label, (x, y), boxes[best], leads=best >= len(_PLACES) // 3)


def _box(x: float, y: float, half_width: float, half_height: float) -> Box:
    return (x - half_width, y - half_height, x + half_width, y + half_height)


def _beside(x: float, y: float, dx: float, dy: float, size: tuple[float, float]) -> Box:
    """A box of half width and half height ``size`` whose nearest side is (dx, dy) from a point."""
    sign_x, sign_y = (0 if d == 0 else d / abs(d) for d in (dx, dy))
    return _box(x + dx * 0.6 + sign_x * size[0], y + dy * 0.8 + sign_y * size[1], *size)


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _cost(box: Box, panel: Box, dots: Sequence[Box], taken: Sequence[Box]) -> float:
    outside = (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, panel)
    return _OUTSIDE * outside + sum(_overlap(box, other) for other in (*dots, *taken))


def _write(axes: Axes, label: Label, point: tuple[float, float], box: Box, *, leads: bool) -> None:
    middle = ((box[0] + box[2]) / 2 - point[0], (box[1] + box[3]) / 2 - point[1])
    line = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
    axes.annotate(
        label.text,
        (label.x, label.y),
        middle,
        textcoords="offset points",
        size=_SIZE_PT,
        color=label.colour,
        ha="center",
        va="center",
        linespacing=1.05,
        arrowprops=line if leads else None,
        annotation_clip=False,
        zorder=5,
    )
