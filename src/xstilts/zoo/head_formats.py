"""What the library asks of a format: how a head of it is loaded without xstilts.

The whole contract is in `xstilts.tasks.formats`; formats are files of that package.
"""

from __future__ import annotations

from typing import Protocol

from xstilts.config.registry import Registry


class HeadFormat(Protocol):
    """What a format says of its heads to cards; what has a value here may be left out.

    Attributes:
        LABEL_SET: Whether a head has one score for each of the task's labels.
        PIPELINE: What hubs call the kind of task, such as `text-classification`.
        HF_CLASS: The Auto class of transformers that has such a head; empty where none has.
        HF_CODE: Lines of Python that put the tensors `head` into `model`, of that class.
    """

    LABEL_SET: bool = False
    PIPELINE: str = ""
    HF_CLASS: str = ""
    HF_CODE: tuple[str, ...] = ()


HEAD_FORMATS = Registry[HeadFormat](
    "xstilts.tasks.formats", "format", HeadFormat, "xstilts.formats"
)


def head_format(name: str) -> HeadFormat | None:
    """The format of a head; None without a head, or where the package that has it is missing."""
    return HEAD_FORMATS.get(name) if name in HEAD_FORMATS else None
