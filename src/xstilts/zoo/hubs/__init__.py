"""Hubs: where modules are shared.

A hub is one file of this package with these names:

    SCHEMES: tuple[str, ...]        what its addresses start with, such as `("hf:",)`; empty for
                                    the hub that takes every other `scheme://`
    CACHES: bool                    whether `pull` can serve from a cache when offline

    push(folder, address, options) -> RemoteRef
        Share a verified module folder, all of it or nothing: until the last step nobody sees it.
    pull(address, into, *, offline) -> RemoteRef
        Fetch the files that the module's manifest lists into the empty folder `into`. The caller
        verifies them and makes the module visible.
    exists(address) -> bool
        Whether there is a module at the address.
    modules(address) -> list[RemoteRef]
        The modules at or below the address.

A hub that holds more than modules may also have:

    fetch_files(address, names, into, *, offline) -> str
        Fetch those of some files that are there, for an import; see below.

They raise `NotFoundError` (nothing there), `NetworkError` (unreachable, refused, busy), and
`IntegrityError` (what is there is no module). An address never holds a credential: each hub uses
what its client finds in the environment or in its own store.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from xstilts.config.registry import Registry
from xstilts.errors import OfflineError, UsageError
from xstilts.zoo import Entry, Zoo, verify_folder
from xstilts.zoo.card import write_card

HUBS = Registry[Any]("xstilts.zoo.hubs", "hub", group="xstilts.hubs")

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):(//)?")
_LOCAL_SCHEMES = ("file", "local", "memory")


@dataclass(frozen=True, slots=True)
class Address:
    """A place on a hub.

    Attributes:
        hub: Which implementation.
        text: As written.
        location: Without the hub's scheme and the revision.
        revision: Branch, tag or commit, for hubs that have them; empty for the default.
    """

    hub: str
    text: str
    location: str
    revision: str = ""

    @property
    def local(self) -> bool:
        """Whether no network is needed."""
        scheme = self.text.partition(":")[0]
        return self.hub == "folder" or scheme in _LOCAL_SCHEMES


@dataclass(frozen=True, slots=True)
class RemoteRef:
    """A module on a hub.

    Attributes:
        reference: Where exactly: the commit or the digest is in it where the hub has such.
        digest: Of the module; empty when the hub does not say without a download.
        url: For people, such as a pull request's page; may be empty.
    """

    reference: str
    digest: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class PushOptions:
    """How to share a module; hubs ignore what they do not have.

    Attributes:
        private: Make a new repository private.
        create_pr: Open a pull request instead of writing to the branch.
        tags: Names for the new revision.
        message: Of the commit.
        license: Of the module, for its card; as its manifest says when empty.
    """

    private: bool = False
    create_pr: bool = False
    tags: tuple[str, ...] = ()
    message: str = ""
    license: str = ""


def parse_address(text: str) -> Address:
    """What an address means.

    Raises:
        UsageError: No hub takes it, or it holds a credential.
    """
    match = _SCHEME.match(text)
    if match is None:
        if text.startswith(("./", "../", "/", "~")):
            return Address("folder", text, text)
        raise UsageError(
            f"{text!r} is no address",
            hint="Write hf:org/name, s3://bucket/path, file:///path, folder:path or ./path.",
        )
    for hub in HUBS:
        for scheme in HUBS.get(hub).SCHEMES if not match[2] else ():
            if text.startswith(scheme):
                location, _, revision = text.removeprefix(scheme).partition("@")
                if hub == "folder":
                    return Address(hub, text, text.removeprefix(scheme))
                return Address(hub, text, location, revision)
    if not match[2]:
        raise UsageError(f"no hub takes '{match[0]}' addresses", hint="Use hf:, folder: or s3://.")
    host = text[match.end() :].split("/")[0]
    if "@" in host or "?" in text or "#" in text:
        raise UsageError(
            f"an address must be plain: '{match[0]}…' holds a credential or a query",
            hint="Give credentials through the environment, as the store's own client takes them.",
        )
    return Address("remote", text, text)


def push(
    folder: Path,
    target: str,
    options: PushOptions | None = None,
    *,
    scores: Sequence[Any] = (),
    sign: Path | None = None,
    offline: bool = False,
) -> RemoteRef:
    """Share a module: verify it, write its card, sign it where asked, upload.

    Args:
        folder: Of a module; it is not changed.
        target: Where to, such as `hf:org/name` or `s3://bucket/zoo`.
        options: See `PushOptions`.
        scores: Rows for the card; those already in the folder when empty.
        sign: Private key (PEM, elliptic curve); the signature goes along as `model.sig`.
        offline: Refuse whatever needs a network.

    Raises:
        IntegrityError: The folder is no whole module.
        OfflineError: The target needs a network and `offline` is set.
        NetworkError: The hub cannot be reached or refuses.
    """
    address, hub = _open(target, offline)
    options = options or PushOptions()
    verify_folder(folder)
    with tempfile.TemporaryDirectory(prefix="xstilts-push-") as temporary:
        staged = Path(temporary)
        for path in folder.iterdir():
            _link(path, staged / path.name)
        if options.create_pr and options.tags:
            raise UsageError("a pull request cannot be tagged", hint="Tag after it is merged.")
        repo = address.location if address.hub == "huggingface" else ""
        write_card(staged, scores, repo=repo, license_id=options.license)
        if sign is not None:
            from xstilts.zoo.signing import sign_folder

            sign_folder(staged, sign)
        verify_folder(staged)
        reference: RemoteRef = hub.push(staged, address, options)
    return reference


def pull(reference: str, zoo: Zoo, *, key: Path | None = None, offline: bool = False) -> Entry:
    """Fetch a module into a library; it appears there verified, or not at all.

    Args:
        reference: Where from, such as `hf:org/name@v1`.
        zoo: Where to.
        key: Public key (PEM); the module must then hold a signature made with its private half.
        offline: Take only what is on this machine.

    Raises:
        NotFoundError: Nothing is there.
        NetworkError: The hub cannot be reached or refuses.
        IntegrityError: What came is no whole module, or its signature is missing or wrong.
    """
    address, hub = _open(reference, offline, fetching=True)

    def fill(folder: Path) -> None:
        hub.pull(address, folder, offline=offline)
        if key is not None:
            from xstilts.zoo.signing import verify_signature

            verify_signature(folder, key)

    return zoo.add(fill)


def fetch_files(reference: str, names: Sequence[str], into: Path, *, offline: bool = False) -> str:
    """Fetch those of some files that a repository which is no module of ours has.

    Args:
        reference: `hf:org/name` or `hf:org/name@revision`.
        names: Of files; the first must be there.
        into: A folder.
        offline: Take only what is in the cache.

    Returns:
        Where they are from, with the commit.

    Raises:
        UsageError: The hub holds modules only.
        NotFoundError: There is no such repository, or it lacks the first file.
        NetworkError: The hub cannot be reached or refuses.
    """
    address, hub = _open(reference, offline, fetching=True)
    if not hasattr(hub, "fetch_files"):
        raise UsageError(
            f"nothing can be imported from {reference}",
            hint="Copy the folder to this machine and name it, or name hf:org/name.",
        )
    return str(hub.fetch_files(address, names, into, offline=offline))


def exists(reference: str, *, offline: bool = False) -> bool:
    """Whether there is a module at an address."""
    address, hub = _open(reference, offline)
    return bool(hub.exists(address))


def modules(reference: str, *, offline: bool = False) -> list[RemoteRef]:
    """The modules at or below an address."""
    address, hub = _open(reference, offline)
    return list(hub.modules(address))


def _open(text: str, offline: bool, *, fetching: bool = False) -> tuple[Address, ModuleType]:
    address = parse_address(text)
    hub = HUBS.get(address.hub)
    if offline and not address.local and not (fetching and hub.CACHES):
        raise OfflineError(
            f"'{text}' needs a network, and this run is offline",
            hint="Drop --offline, or `xstilts zoo bundle` the module where there is a network.",
        )
    return address, hub


def _link(source: Path, target: Path) -> None:
    """The same file under another name, without a copy where the disk allows it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
