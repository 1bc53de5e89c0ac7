"""A page of the library: one HTML file to put on any server, made from the manifests alone.

Read are what a module says of itself (`manifest.json`), its card's licence and snippets, and its
`scores.json`; no weight, and no method's code.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from xstilts.errors import IntegrityError
from xstilts.files import write_text
from xstilts.zoo.card import license_in, read_scores
from xstilts.zoo.entry import SHORT, Entry, pair
from xstilts.zoo.maintenance import Ancestor, family
from xstilts.zoo.manifest import CARD, SIGNATURE, Manifest
from xstilts.zoo.page.graph import lineage_svg
from xstilts.zoo.signing import verify_signature
from xstilts.zoo.store import Zoo

PAGE = "index.html"
UNSIGNED, UNCHECKED, HOLDS, FAILS = "not signed", "signed", "signature holds", "signature fails"
"""What is known of a module's signature; without a key, only whether there is one."""

_PULL = re.compile(r"^xstilts zoo pull \S+$", re.M)
_CODE = re.compile(
    r"^With plain (\S+?)(?:, in this folder)?:\n\n```python\n(.*?)\n```$", re.M | re.S
)


@dataclass(frozen=True)
class PageModule:
    """A module as the page shows it.

    Attributes:
        name: `name/preset`; several modules may share it.
        languages: That it is for or was trained in.
        license: Its own, as the manifest or the card states it; empty where none does.
        scores: Task, or `dev`, to the mean over languages of what came with the module, 0..100.
        signature: One of `UNSIGNED`, `UNCHECKED`, `HOLDS`, `FAILS`.
        lineage: What it was made from, as SVG; empty where it was made from nothing.
        users: Modules of the library that were made from it.
        commands: To use it with xstilts.
        library: Of `code`.
        code: Python of the card that loads it without xstilts; empty where no library can.
    """

    entry: Entry
    name: str
    languages: Sequence[str]
    license: str
    scores: Mapping[str, float]
    signature: str
    lineage: str = ""
    users: Sequence[Entry] = field(default_factory=list)
    commands: str = ""
    library: str = ""
    code: str = ""

    @property
    def manifest(self) -> Manifest:
        """What it says of itself."""
        return self.entry.manifest

    @property
    def anchor(self) -> str:
        """Of its place in the page."""
        return anchor(self.manifest.digest)

    @property
    def size(self) -> str:
        """Of all its files."""
        return f"{sum(file.size for file in self.manifest.files) / 1e6:.2f} MB"

    @property
    def composition(self) -> str:
        """The expression below its own weights, its modules as they were named; none: empty."""
        text = self.manifest.composition
        for part in self.manifest.parents:
            name, _, _ = part.reference.partition("@")
            text = text.replace(f"@{part.digest}", name or f"@{part.digest[:7]}")
        return "" if text == "none" else text

    @property
    def words(self) -> str:
        """What a search looks through, in lower case."""
        m = self.manifest
        parts = (self.entry.reference, m.kind, m.task, m.method, m.preset, m.format, m.composition)
        more = (m.backbone.name, m.backbone.repo, *self.languages, *m.labels, self.license)
        return " ".join((*parts, *more)).lower()


def write_page(
    zoo: Zoo,
    to: Path,
    *,
    title: str = "Module library",
    key: Path | None = None,
    studies: bool = False,
) -> tuple[Path, list[PageModule]]:
    """Write `index.html`; it loads nothing from anywhere.

    Args:
        zoo: The library; modules that do not read are left out, and the page says how many.
        to: Folder of the page, made where it is missing.
        title: Of the page.
        key: Public key (PEM) that signatures are checked with; every file is read then.
        studies: Also show the modules that stand apart as those of studies.

    Returns:
        The page, and the modules on it.

    Raises:
        NotFoundError: No such key file.
        UsageError: Signatures are to be checked and the library for that is not installed.
    """
    modules = shown(zoo, key, studies=studies)
    names = Counter(module.name for module in modules)
    folders = zoo.folders() if studies else zoo.own_folders()
    environment = Environment(
        loader=PackageLoader("xstilts.zoo", "page"),
        autoescape=select_autoescape(("html", "j2")),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html.j2").render(
        title=title,
        modules=modules,
        filters=_filters(modules),
        measures=sorted({task for module in modules for task in module.scores}),
        shared={name for name, count in names.items() if count > 1},
        unread=len(folders) - len(modules),
        anchor=anchor,
        pair=pair,
        style=_text("page.css"),
        script=_text("page.js"),
    )
    write_text(to / PAGE, page)
    return to / PAGE, modules


def anchor(digest: str) -> str:
    """Where a module stands in the page."""
    return f"m-{digest[:SHORT]}"


def shown(zoo: Zoo, key: Path | None = None, *, studies: bool = False) -> list[PageModule]:
    """The modules of a library as the page shows them, by name and seed; see `write_page`."""
    entries = zoo.entries() if studies else zoo.library()
    known = {entry.manifest.digest: entry for entry in entries}
    users: dict[str, list[Entry]] = {}
    for entry in entries:
        for digest in dict.fromkeys(parent.digest for parent in entry.manifest.parents):
            users.setdefault(digest, []).append(entry)
    found = [_shown(e, family(e, known), users.get(e.manifest.digest, []), key) for e in entries]
    return sorted(found, key=lambda module: (module.name, module.manifest.seed, module.anchor))


def _shown(entry: Entry, tree: Ancestor, users: Sequence[Entry], key: Path | None) -> PageModule:
    m = entry.manifest
    card = entry.folder / CARD
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    code = _CODE.search(text)
    return PageModule(
        entry,
        pair(m),
        list(dict.fromkeys(code for code in (*m.languages, *m.source_language.split(",")) if code)),
        m.license or license_in(text),
        _means(entry),
        _signature(entry, key),
        lineage_svg(tree, anchor) if tree.parents else "",
        users,
        _commands(entry, text),
        *(code.groups() if code else ("", "")),
    )


def _commands(entry: Entry, card: str) -> str:
    """Where the card says to get it, and what to do with it then."""
    pull = _PULL.findall(card)[:1]
    return "\n".join([*pull, f"xstilts xtreme {entry.reference}"])


def _means(entry: Entry) -> dict[str, float]:
    """The dev score, and for each task the mean over languages of each one's first metric."""
    values: dict[str, dict[str, float]] = {}
    for row in read_scores(entry.folder):
        values.setdefault(str(row["task"]), {}).setdefault(str(row["language"]), row["value"])
    means = {task: sum(found.values()) / len(found) for task, found in sorted(values.items())}
    dev = entry.manifest.training.get("dev_score")
    return ({"dev": float(dev)} if isinstance(dev, int | float) else {}) | means


def _signature(entry: Entry, key: Path | None) -> str:
    if not (entry.folder / SIGNATURE).is_file():
        return UNSIGNED
    if key is None:
        return UNCHECKED
    try:
        verify_signature(entry.folder, key)
    except IntegrityError:
        return FAILS
    return HOLDS


def _filters(modules: Sequence[PageModule]) -> dict[str, list[str]]:
    """What can be chosen from, by the attribute of a module that holds it."""
    found = {
        "task": {m.manifest.task for m in modules},
        "method": {name for m in modules for name in (m.manifest.method, m.manifest.preset)},
        "kind": {m.manifest.kind for m in modules},
        "backbone": {m.manifest.backbone.name for m in modules},
        "language": {code for m in modules for code in m.languages},
        "license": {m.license for m in modules},
        "signature": {m.signature for m in modules},
    }
    return {name: sorted(values - {""}) for name, values in found.items()}


def _text(name: str) -> Markup:
    return Markup(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))  # noqa: S704
