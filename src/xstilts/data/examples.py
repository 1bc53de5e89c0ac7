"""One row of a task, before tokenisation. Labels travel as names, never as ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """A gold answer span: its text and the offset of its first character in the context."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task in one language.

    What `fields` and `target` hold depends on the format; `target` is None when unlabelled.

    | format | fields | target |
    |---|---|---|
    | classification | `text`, and `text_pair` for pairs | label name |
    | multiple_choice | `context`, `question`, `choices` (tuple of text) | index as text |
    | tagging | `words` (tuple of text) | tuple of label names, one a word |
    | extractive_qa | `question`, `context` | tuple of `Answer`; empty when unanswerable |
    | retrieval | `text` | None |
    | masked_lm | `text` | None |

    Attributes:
        id: Unique within a task, split and language.
        language: XTREME code of the row's language.
        place: File and 1-based row (`dev-en.tsv:17`), for messages.
    """

    id: str
    language: str
    fields: Mapping[str, Any]
    target: Any = None
    place: str = ""
