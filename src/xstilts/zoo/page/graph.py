"""The lineage of a module as a picture: what it was made from, one line a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from markupsafe import Markup, escape

from xstilts.zoo.entry import SHORT, pair
from xstilts.zoo.maintenance import Ancestor

ROW, INDENT, HEIGHT, LETTER = 34, 22, 24, 7.3
"""Pixels: from one line to the next, a step to the right, of a box, and of a letter in it."""


def lineage_svg(tree: Ancestor, anchor: Callable[[str], str]) -> Markup:
    """Boxes from the module down to what it was made from, each module once, joined by lines.

    Args:
        tree: The family tree.
        anchor: Digest to the place in the page that a box links to.

    Returns:
        An `<svg>` whose text says everything that the picture shows.
    """
    order, depth = _placed(tree)
    roles: dict[str, list[str]] = {tree.digest: []}
    for _, parent in _edges(order):
        roles.setdefault(parent.digest, []).append(parent.role)
    labels = {node.digest: _label(node, roles[node.digest]) for node in order}
    top = {node.digest: row * ROW + 2 for row, node in enumerate(order)}
    boxes, right = [], 0.0
    for node in order:
        label = labels[node.digest]
        left, width = depth[node.digest] * INDENT, len(label) * LETTER + 16
        right = max(right, left + width)
        boxes.append(_box(node, label, (left, top[node.digest], width), anchor))
    lines = [
        Markup('<path d="M{} {}V{}H{}"/>').format(
            depth[child.digest] * INDENT + INDENT // 2,
            top[child.digest] + HEIGHT,
            top[parent.digest] + HEIGHT // 2,
            depth[parent.digest] * INDENT,
        )
        for child, parent in _edges(order)
    ]
    size = f"{right + 2:.0f}", f"{len(order) * ROW}"
    opening = Markup(
        '<svg class="lineage" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img"'
    )
    described = "Made from " + ", ".join(labels[node.digest] for node in order[1:])
    return (
        opening.format(*size)
        + Markup(' aria-label="{}">').format(described)
        + Markup("").join([*lines, *boxes])
        + Markup("</svg>")
    )


def _placed(tree: Ancestor) -> tuple[list[Ancestor], dict[str, int]]:
    """Every module once, each below all that were made from it, and its longest way to the root."""
    done: dict[str, Ancestor] = {}

    def visit(node: Ancestor) -> None:
        if node.digest not in done:
            for parent in reversed(node.parents):
                visit(parent)
            done[node.digest] = node

    visit(tree)
    order = list(reversed(done.values()))
    depth = {tree.digest: 0}
    for child, parent in _edges(order):
        depth[parent.digest] = max(depth.get(parent.digest, 0), depth[child.digest] + 1)
    return order, depth


def _edges(order: list[Ancestor]) -> Iterator[tuple[Ancestor, Ancestor]]:
    for node in order:
        for parent in node.parents:
            yield node, parent


def _label(node: Ancestor, roles: list[str]) -> str:
    """Such as `below: mnli/lora`."""
    name = pair(node.entry.manifest) if node.entry else node.reference.partition("@")[0]
    missing = "" if node.entry else " (not here)"
    role = f"{', '.join(dict.fromkeys(roles))}: " if roles else ""
    return role + (name or node.digest[:SHORT]) + missing


def _box(
    node: Ancestor,
    label: str,
    place: tuple[float, float, float],
    anchor: Callable[[str], str],
) -> Markup:
    left, top, width = place
    drawn = Markup('<rect x="{}" y="{}" width="{:.1f}" height="{}" rx="4"/>').format(
        left, top, width, HEIGHT
    ) + Markup('<text x="{}" y="{}">{}</text>').format(left + 8, top + 16, escape(label))
    if node.entry is None:
        return Markup('<g class="missing">{}</g>').format(drawn)
    if not node.role:
        return Markup('<g class="self">{}</g>').format(drawn)
    return Markup('<a href="#{}">{}</a>').format(anchor(node.digest), drawn)
