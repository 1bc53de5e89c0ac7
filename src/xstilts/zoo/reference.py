"""Module references: what a person writes to mean one module.

mnli                                      the one module of this name
mnli/lora                                 … of this preset or method
mnli/lora/xlm-roberta-base@0a1b2c         … for this backbone, whose digest starts so
@0a1b2c                                   by digest alone
mnli:best                                 by tag
./path    /path    folder:path            a module folder outside the library
hf:org/name@revision    s3://bucket/key   on a hub
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xstilts.errors import UsageError
from xstilts.zoo.manifest import RENAMED

_LOCAL = re.compile(
    r"(?P<name>[a-z0-9_][a-z0-9._+-]*)?(?::(?P<tag>[a-z0-9_][a-z0-9._-]*))?"
    r"(?:/(?P<variant>[A-Za-z0-9_][A-Za-z0-9._+:-]*))?"
    r"(?:/(?P<backbone>[A-Za-z0-9_][A-Za-z0-9._+-]*))?"
    r"(?:@(?P<digest>[0-9a-f]{1,64}))?"
)
_REMOTE = re.compile(r"hf:|[a-z][a-z0-9+.-]*://")
_FOLDER = ("./", "../", "/", "~")


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference, taken apart.

    Attributes:
        kind: `local` is in the library, `folder` a path, `remote` on a hub.
        text: As written; the path for `folder`.
        variant: Method preset or method.
        digest: Its first hex digits.
    """

    kind: Literal["local", "folder", "remote"]
    text: str
    name: str = ""
    tag: str = ""
    variant: str = ""
    backbone: str = ""
    digest: str = ""

    @property
    def path(self) -> Path:
        """The folder that a `folder` reference names."""
        return Path(self.text).expanduser()


def parse_reference(text: str) -> Reference:
    """Take a reference apart.

    Raises:
        UsageError: It does not follow the grammar.
    """
    if text.startswith("folder:"):
        return Reference("folder", text.removeprefix("folder:"))
    if text.startswith(_FOLDER) or text in (".", ".."):
        return Reference("folder", text)
    if _REMOTE.match(text):
        return Reference("remote", text)
    match = _LOCAL.fullmatch(text)
    if not match or not (match["name"] or match["digest"]):
        raise UsageError(
            f"{text!r} is no module reference",
            hint="Write name, name/preset, name/preset/backbone@digest, @digest, name:tag, ./path, "
            "hf:org/name or s3://bucket/path.",
        )
    parts = {key: value or "" for key, value in match.groupdict().items()}
    parts["variant"] = RENAMED["preset"].get(parts["variant"], parts["variant"])
    return Reference("local", text, **parts)


def slug(text: str) -> str:
    """`text` as it stands in folder names and references."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip("-.") or "unnamed"
