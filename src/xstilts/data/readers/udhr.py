"""The Universal Declaration of Human Rights as XML, one text an article (aligned by its number).

Paragraph counts differ between languages, article numbers do not, so an article is the unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from xstilts.config.specs import SourceSpec, TaskSpec
from xstilts.data.examples import Example
from xstilts.data.readers import Rows
from xstilts.data.rows import ReaderOptions, options_of
from xstilts.data.text import blank_split, place, read_text, where
from xstilts.errors import DataError


class Options(ReaderOptions):
    """Nothing besides what all readers take."""


def read(
    paths: Sequence[Path], source: SourceSpec, task: TaskSpec, language: str, split: str
) -> Rows:
    """The articles of a declaration; ids are article numbers, titles are left out.

    Raises:
        DataError: Not the XML of the UDHR project, an article has no text, or declares entities.
    """
    del split
    options_of(Options, source, task)
    for path in paths:
        articles = [e for e in _root(path) if _tag(e) == "article"]
        if not articles:
            raise DataError("no <article> elements", where=str(path))
        for row, article in enumerate(articles, 1):
            number = article.get("number", "")
            text = " ".join(" ".join(p.itertext()) for p in article.iter() if _tag(p) == "para")
            text = " ".join(blank_split(text))
            if not number or not text:
                raise DataError("an article without number or text", where=where(path, row))
            yield Example(number, language, {"text": text}, None, place(path, row))


def _root(path: Path) -> ElementTree.Element:
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        # Entities can expand to gigabytes; the project's files declare none.
        raise DataError("the XML declares a document type or entities", where=str(path))
    try:
        return ElementTree.fromstring(text)  # noqa: S314  (no entities, see above)
    except ElementTree.ParseError as error:
        row = error.position[0]
        raise DataError(f"not valid XML: {error}", where=where(path, row)) from None


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
