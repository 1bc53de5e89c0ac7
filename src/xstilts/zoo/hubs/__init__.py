"""Hubs: where modules are shared.

A hub is one file of this package, or an entry point of the group `xstilts.hubs`; `Hub` states what
it has.

A hub whose addresses hold many modules also has:

    beside(address, digest) -> Address | None
        Where the module with this digest is in the same library; None when it is not there.

A hub that holds more than modules may also have:

    fetch_files(address, names, into, *, offline) -> str
        Fetch those of some files that are there, for an import; see below.
    closed(address, *, offline) -> NetworkError | None
        Why the address cannot be reached now, found out within seconds; None when it can. Raises
        `UsageError` when it names nothing.

They raise `NotFoundError` (nothing there), `NetworkError` (unreachable, refused, busy), and
`IntegrityError` (what is there is no module). An address never holds a credential: each hub uses
what its client finds in the environment or in its own store.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from xstilts.config.progress import ProgressFn, silent
from xstilts.config.registry import Registry, optional
from xstilts.errors import NetworkError, NotFoundError, OfflineError, UsageError
from xstilts.files import scratch_folder
from xstilts.zoo import Entry, Zoo, read_manifest, verify_folder
from xstilts.zoo.card import license_in, write_card
from xstilts.zoo.manifest import CARD, Manifest, Parent

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):(//)?")
_LOCAL_SCHEMES = ("file", "local", "memory")


@dataclass(frozen=True, slots=True)
class Address:
    """An address such as `hf:org/name@v1`, taken apart.

    Attributes:
        hub: Name of the implementation that serves it: a file of `zoo/hubs`, or an entry point.
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
        """Whether the address is on this machine, so that no network is needed."""
        scheme = self.text.partition(":")[0]
        return self.hub == "folder" or scheme in _LOCAL_SCHEMES


@dataclass(frozen=True, slots=True)
class RemoteRef:
    """Where a module lies on a hub after a push or before a pull.

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
    """How to share a module; a hub refuses what it does not have.

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


class Hub(Protocol):
    """The contract of a hub; the file name is the hub's.

    Attributes:
        SCHEMES: What its addresses start with, such as `("hf:",)`; empty for the hub that takes
            every other `scheme://`.
        CACHES: Whether `pull` can serve from a cache when offline.
        OPTIONS: The fields of `PushOptions` that `push` honours; others are refused before it.
        MANY: Whether an address holds a library, so that a composition can go with its parts.
        IMPORTS: Whether `fetch_files` gives files of repositories that are no modules of ours.
    """

    SCHEMES: tuple[str, ...]
    CACHES: bool
    OPTIONS: tuple[str, ...]
    MANY: bool = False
    IMPORTS: bool = False

    def push(
        self, folder: Path, address: Address, options: PushOptions, progress: ProgressFn
    ) -> RemoteRef:
        """Share a verified module folder, all or nothing: until the last step nobody sees it."""
        ...

    def pull(
        self, address: Address, into: Path, progress: ProgressFn, *, offline: bool
    ) -> RemoteRef:
        """Fetch the files that the module's manifest lists into the empty folder `into`.

        The caller verifies them and makes the module visible.
        """
        ...

    def card(self, address: Address, manifest: Manifest) -> str:
        """The text of the card that the module has there; empty without."""
        ...

    @optional
    def closed(self, address: Address, *, offline: bool) -> NetworkError | None:
        """Why an address cannot be reached now; None where it can be tried."""
        return OfflineError("this run is offline") if offline and not address.local else None

    @optional
    def beside(self, address: Address, digest: str) -> Address | None:
        """Where the module with a digest is in the library at an address; None where it is not."""
        del address, digest
        return None

    @optional
    def fetch_files(
        self, address: Address, names: Sequence[str], into: Path, *, offline: bool
    ) -> str:
        """Copy those of some files that a repository has into a folder; the first must be there.

        Returns:
            Where they are from, with the commit.
        """
        del names, into, offline
        raise UsageError(f"{address.text} holds modules only")


class Transfer:
    """Tells how many bytes of some files are sent or fetched.

    Args:
        verb: Such as "sending".
        sizes: File name to bytes.
        progress: Is told.
    """

    def __init__(self, verb: str, sizes: Mapping[str, int], progress: ProgressFn) -> None:
        self._verb, self._sizes, self._progress = verb, dict(sizes), progress
        self._total, self._before = max(1, sum(sizes.values())), 0

    @contextmanager
    def of(self, name: str) -> Iterator[Callable[[int], None]]:
        """One file is moved inside; what this gives is called with how many bytes of it are."""

        def tell(count: int) -> None:
            done = self._before + min(count, size)
            shown = f"{done / 1e6:.1f} of {self._total / 1e6:.1f} MB"
            self._progress(f"{self._verb} {name}, {shown}", done / self._total)

        size = self._sizes.get(name, 0)
        tell(0)
        yield tell
        self._before += size


HUBS = Registry[Hub]("xstilts.zoo.hubs", "hub", Hub, "xstilts.hubs")


def parse_address(text: str) -> Address:
    """Hub, location and revision of an address.

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


_FLAGS = {
    "private": "--private",
    "create_pr": "--create-pr",
    "tags": "--tag",
    "message": "--message",
}
"""Options that not every hub has, and what they are called on the command line."""


def push(
    folder: Path,
    target: str,
    options: PushOptions | None = None,
    *,
    zoo: Zoo | None = None,
    scores: Sequence[Any] = (),
    sign: Path | None = None,
    offline: bool = False,
    progress: ProgressFn = silent,
) -> RemoteRef:
    """Share a module: verify it, write its card, sign it where asked, upload.

    The modules that a composition is made of go first, where the target holds many.

    Args:
        folder: Of a module; it is not changed.
        target: Where to, such as `hf:org/name` or `s3://bucket/zoo`.
        options: See `PushOptions`.
        zoo: Has the modules that a composition or a merge is made of.
        scores: Rows for the card; those already in the folder when empty.
        sign: Private key (PEM, elliptic curve); the signature goes along as `model.sig`.
        offline: Refuse whatever needs a network.
        progress: Is told what is being done and the share that is done.

    Raises:
        IntegrityError: The folder is no whole module.
        UsageError: The target lacks an option, or cannot hold what a composition is made of.
        OfflineError: The target needs a network and `offline` is set.
        NetworkError: The hub cannot be reached or refuses.
    """
    options = options or PushOptions()
    address = parse_address(target)
    hub = HUBS.get(address.hub)
    _require_options(address, hub, options)
    progress("checking every file", 0.0)
    manifest = verify_folder(folder)
    closed = hub.closed(address, offline=offline)
    if closed is not None:
        raise _unreachable(target, closed)
    for part in _parts(Entry(manifest, folder), zoo, target, hub):
        push(part.folder, target, zoo=zoo, sign=sign, offline=offline, progress=progress)
    with scratch_folder("push") as staged:
        for path in folder.iterdir():
            _link(path, staged / path.name)
        repo = address.location if address.hub == "huggingface" else ""
        stated = options.license or manifest.license or _stated_license(staged, hub, address)
        parts = zoo.merged_from(manifest) if zoo else []
        write_card(staged, scores, repo=repo, license_id=stated, parts=parts)
        if sign is not None:
            from xstilts.zoo.signing import sign_folder

            sign_folder(staged, sign)
        return hub.push(staged, address, options, progress)


def _require_options(address: Address, hub: Hub, options: PushOptions) -> None:
    """Refuse what the hub would ignore."""
    lacking = [
        flag
        for field, flag in _FLAGS.items()
        if getattr(options, field) and field not in hub.OPTIONS
    ]
    if lacking:
        raise UsageError(f"{address.text} has no {', '.join(lacking)}", hint="Leave it out.")
    if options.create_pr and options.tags:
        raise UsageError("a pull request cannot be tagged", hint="Tag after it is merged.")


def _parts(entry: Entry, zoo: Zoo | None, target: str, hub: Hub) -> list[Entry]:
    """What a composition is made of, which it cannot do without.

    Raises:
        NotFoundError: A part is not in the library.
        UsageError: The hub holds one module at an address.
    """
    if not entry.manifest.needed:
        return []
    names = ", ".join(parent.reference for parent in entry.manifest.needed)
    if zoo is None or not hub.MANY:
        raise UsageError(
            f"'{entry.manifest.name}' cannot do without {names}, and {target} holds one module",
            hint="Push it to a library (folder:path, s3://bucket/zoo), or `xstilts zoo bundle` it.",
        )
    return [zoo.find(f"@{parent.digest}") for parent in entry.manifest.needed]


def _stated_license(staged: Path, hub: Hub, address: Address) -> str:
    """The licence in the module's own card, or in the one that it has on the hub."""
    own = staged / CARD
    here = license_in(own.read_text(encoding="utf-8", errors="replace")) if own.is_file() else ""
    return here or license_in(hub.card(address, read_manifest(staged)))


def pull(
    reference: str,
    zoo: Zoo,
    *,
    key: Path | None = None,
    offline: bool = False,
    progress: ProgressFn = silent,
) -> Entry:
    """Fetch a module into a library; it appears there verified, or not at all.

    Args:
        reference: Where from, such as `hf:org/name@v1`.
        zoo: Where to.
        key: Public key (PEM); the module must then hold a signature made with its private half.
        offline: Take only what is on this machine.
        progress: Is told what is being done and the share that is done.

    Raises:
        NotFoundError: Nothing is there.
        NetworkError: The hub cannot be reached or refuses.
        IntegrityError: What came is no whole module, or its signature is missing or wrong.
    """
    address = parse_address(reference)
    hub = HUBS.get(address.hub)
    progress(f"looking for {reference}", 0.0)
    closed = hub.closed(address, offline=offline)

    def fill(folder: Path) -> None:
        with _from_cache(reference, hub, closed):
            hub.pull(address, folder, progress, offline=closed is not None)
        for parent in read_manifest(folder).needed:
            if zoo.has(parent.digest):
                continue
            place = _place_of_part(parent, address, hub, zoo)
            pull(place, zoo, key=key, offline=offline, progress=progress)
        if key is not None:
            from xstilts.zoo.signing import verify_signature

            verify_signature(folder, key)

    return zoo.add(fill)


def _place_of_part(parent: Parent, address: Address, hub: Hub, zoo: Zoo) -> str:
    """Where a module that a composition is made of can be had; it is not in the library."""
    place = hub.beside(address, parent.digest)
    if place is None:
        raise NotFoundError(
            f"{address.text} is made of '{parent.reference}' ({parent.digest[:12]}), which is "
            "neither in the library nor beside it",
            where=str(zoo.root),
            hint="Pull that module first.",
        )
    return place.text


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
    address = parse_address(reference)
    hub = HUBS.get(address.hub)
    closed = hub.closed(address, offline=offline)
    if not hub.IMPORTS:
        raise UsageError(
            f"nothing can be imported from {reference}",
            hint="Copy the folder to this machine and name it, or name hf:org/name.",
        )
    with _from_cache(reference, hub, closed):
        return hub.fetch_files(address, names, into, offline=closed is not None)


def tag_taken(where: str, tags: Sequence[str]) -> UsageError:
    """The refusal of a push whose tags mean another module already."""
    return UsageError(
        f"{where} has the tag {', '.join(tags)} already, for other files",
        hint="Choose another --tag; a tag keeps meaning the same files.",
    )


def _unreachable(text: str, closed: NetworkError, more: str = "") -> NetworkError:
    return type(closed)(
        f"'{text}' cannot be reached{more}: {closed.what}",
        hint="Try again with a network, or `xstilts zoo bundle` the module where there is one.",
    )


@contextmanager
def _from_cache(text: str, hub: Hub, closed: NetworkError | None) -> Iterator[None]:
    """Take what is in the hub's cache where the hub is closed, and say so when it lacks it."""
    if closed is not None and not hub.CACHES:
        raise _unreachable(text, closed)
    try:
        yield
    except OfflineError:
        if closed is None:
            raise
        raise _unreachable(text, closed, " and is not in the cache") from None


def _link(source: Path, target: Path) -> None:
    """The same file under another name, without a copy where the disk allows it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
