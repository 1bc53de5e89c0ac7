"""Any store that fsspec speaks to: `s3://`, `gs://`, `abfs://`, `file://`, `memory://`, `sftp://`.

A module is at `<address>/<name>/<preset>/<backbone>@<digest>/`. It is there when its manifest is,
and the manifest is written last, in one step: an interrupted push leaves nothing that anybody sees,
and the next push of the module completes it. Where an object is not written in one step, it is
written below `<address>/.parts/` and renamed.
"""

from __future__ import annotations

import os
import posixpath
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies
from uuid import uuid4

from xstilts.config.hub_models import in_time
from xstilts.config.progress import ProgressFn
from xstilts.errors import (
    DiskError,
    IntegrityError,
    NetworkError,
    NotFoundError,
    OfflineError,
    UsageError,
)
from xstilts.zoo import Manifest, read_manifest
from xstilts.zoo.entry import SHORT, full_name
from xstilts.zoo.hubs import Address, PushOptions, RemoteRef, Transfer, parse_address
from xstilts.zoo.manifest import CARD, NAME, SCORES, SIGNATURE, manifest_of
from xstilts.zoo.strict_json import MAX_BYTES, checked_json
from xstilts.zoo.verify import check_file_list

SCHEMES: tuple[str, ...] = ()
CACHES = False
MANY = True
OPTIONS: tuple[str, ...] = ()

_PARTS = ".parts"
_CLIENTS = ("botocore", "aiobotocore", "aiohttp", "google", "gcsfs", "azure", "adlfs", "paramiko")
"""Packages whose exceptions mean that the store, the way to it or the credentials failed."""

_DRIVERS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
"""Protocol to the package that speaks it, for hints."""

_WHOLE_WRITES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "memory", "hf")
"""Protocols where an object appears whole or not at all; elsewhere it is written and renamed."""


def closed(address: Address, *, offline: bool) -> NetworkError | None:
    """Why the store cannot be reached now; None when it can, or when only its client can tell."""
    if address.local:
        return None
    if offline:
        return OfflineError("this run is offline")
    place = urlsplit(_endpoint(address.text))
    if not place.hostname or getproxies():
        return None
    port = place.port or (80 if place.scheme == "http" else 443)
    if in_time(lambda seconds: socket.create_connection((place.hostname, port), seconds).close()):
        return None
    return NetworkError(f"{place.scheme}://{place.netloc} does not answer")


def _endpoint(text: str) -> str:
    """The address of a store's service, as its own client finds it; empty where that is unknown."""
    scheme = text.partition("://")[0]
    if scheme in ("abfs", "abfss", "az"):
        return _azure(text)
    if scheme in ("gs", "gcs"):
        return os.environ.get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com"
    if scheme != "s3":
        return ""
    from fsspec.config import conf

    own = conf.get("s3", {})
    stated = own.get("endpoint_url") or own.get("client_kwargs", {}).get("endpoint_url")
    if stated:
        return str(stated)
    try:
        import botocore.session
        from botocore.exceptions import BotoCoreError
    except ImportError:
        return ""
    session = botocore.session.get_session()
    with suppress(BotoCoreError):
        region = session.get_config_variable("region") or "us-east-1"
        return str(session.create_client("s3", region_name=region).meta.endpoint_url)
    return ""


def _azure(text: str) -> str:
    """The address of a storage account: of its connection string, the url, or its name."""
    from fsspec.config import conf

    own = conf.get("abfs", {})
    stated = own.get("connection_string") or os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    parts = dict(part.partition("=")[::2] for part in stated.split(";"))
    if parts.get("BlobEndpoint"):
        return str(parts["BlobEndpoint"])
    account = own.get("account_name") or parts.get("AccountName")
    account = account or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    account = account or urlsplit(text).netloc.partition("@")[2].partition(".")[0]
    host = own.get("account_host") or (f"{account}.blob.core.windows.net" if account else "")
    return f"https://{host}" if host else ""


def push(folder: Path, address: Address, options: PushOptions, progress: ProgressFn) -> RemoteRef:
    """Write every file, the manifest last."""
    del options
    manifest = read_manifest(folder)
    with _client(address) as (fs, root):
        base = f"{root}/{full_name(manifest)}"
        reference = RemoteRef(fs.unstrip_protocol(base), manifest.digest)
        extra = [name for name in (CARD, SCORES, SIGNATURE) if (folder / name).is_file()]
        if _is_there(fs, base, manifest):
            # A signature is of the manifest's bytes, and two of one digest may differ in time.
            names = [NAME, *extra] if SIGNATURE in extra else extra
        else:
            names = [*(record.path for record in manifest.files), *extra, NAME]
        parts = f"{root}/{_PARTS}"
        _sweep(fs, parts)
        sizes = {name: (folder / name).stat().st_size for name in names}
        transfer = Transfer("sending", sizes, progress)
        for name in names:
            with transfer.of(name) as tell:
                _put(fs, folder / name, f"{base}/{name}", parts, tell)
    return reference


def _is_there(fs: Any, base: str, manifest: Manifest) -> bool:
    """Whether the store has this module with every file at its size."""
    try:
        if _manifest(fs, base).digest != manifest.digest:
            return False
        return all(fs.size(f"{base}/{r.path}") == r.size for r in manifest.files)
    except (FileNotFoundError, IntegrityError):
        return False


def _writes_whole(fs: Any) -> bool:
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return any(protocol in _WHOLE_WRITES for protocol in protocols)


def _telling(tell: Callable[[int], None]) -> Any:
    """What fsspec tells of the bytes that it has moved, passed on."""
    from fsspec.callbacks import Callback

    return Callback(hooks={"bytes": lambda _size, value, **_: tell(value)})


def _put(fs: Any, source: Path, target: str, parts: str, tell: Callable[[int], None]) -> None:
    """Write one file so that it appears whole."""
    if _writes_whole(fs):
        fs.put_file(str(source), target, callback=_telling(tell))
    else:
        for folder in (parts, posixpath.dirname(target)):
            fs.makedirs(folder, exist_ok=True)
        temporary = f"{parts}/{uuid4().hex}"
        try:
            fs.put_file(str(source), temporary, callback=_telling(tell))
            fs.mv(temporary, target)
        finally:
            if fs.exists(temporary):
                fs.rm_file(temporary)
    if fs.size(target) != source.stat().st_size:
        raise NetworkError(f"{target} did not arrive whole", hint="Push again.")


def _sweep(fs: Any, parts: str) -> None:
    """Delete what writers left that were killed a day ago or earlier."""
    if _writes_whole(fs) or not fs.exists(parts):
        return
    oldest = datetime.now(UTC) - timedelta(days=1)
    for path in fs.ls(parts, detail=False):
        with suppress(FileNotFoundError):  # its writer finished meanwhile
            if fs.modified(path) < oldest:
                fs.rm_file(path)


def pull(address: Address, into: Path, progress: ProgressFn, *, offline: bool) -> RemoteRef:
    """Fetch the one module at or below the address, only the files that its manifest lists."""
    del offline
    with _client(address) as (fs, root):
        found = _bases(fs, root)
        if not found:
            raise NotFoundError(f"no module at {address.text}", hint="Check the address.")
        if len(found) > 1:
            listed = "\n".join(f"  {fs.unstrip_protocol(base)}" for base in found)
            raise UsageError(
                f"{address.text} holds {len(found)} modules",
                where=listed,
                hint="Name one of these.",
            )
        base = found[0]
        manifest = _manifest(fs, base)
        check_file_list(manifest, address.text)
        (into / NAME).write_bytes(fs.cat_file(f"{base}/{NAME}"))
        sizes = {record.path: record.size for record in manifest.files}
        transfer = Transfer("fetching", sizes, progress)
        for name, size in sizes.items():
            with transfer.of(name) as tell:
                _get(fs, f"{base}/{name}", into / name, size, tell)
        for name in (CARD, SCORES, SIGNATURE):
            if fs.exists(f"{base}/{name}"):
                _get(fs, f"{base}/{name}", into / name, MAX_BYTES)
        return RemoteRef(fs.unstrip_protocol(base), manifest.digest)


def _get(
    fs: Any, source: str, target: Path, size: int, tell: Callable[[int], None] | None = None
) -> None:
    """Fetch a file of `size` bytes, or of at most so many where nobody is told."""
    try:
        found = _size(fs, source)
    except FileNotFoundError:
        raise IntegrityError(f"file '{target.name}' is missing", where=source) from None
    if found > size or (tell is not None and found != size):
        raise IntegrityError(f"file '{target.name}' has {found} bytes, not {size}", where=source)
    fs.get_file(source, str(target), callback=_telling(tell or (lambda _: None)))


def card(address: Address, manifest: Manifest) -> str:
    """The text of the card that the module has in the library at the address."""
    with _client(address) as (fs, root):
        path = f"{root}/{full_name(manifest)}/{CARD}"
        if not fs.exists(path) or _size(fs, path) > MAX_BYTES:
            return ""
        return str(fs.cat_file(path).decode("utf-8", "replace"))


def beside(address: Address, digest: str) -> Address | None:
    """Where the module with this digest is in the same library."""
    with _client(address) as (fs, root):
        own = fs.exists(f"{root}/{NAME}")
        library = root.rsplit("/", 3)[0] if own and root.count("/") > 3 else root
        for base in _bases(fs, library):
            if base.endswith(digest[:SHORT]) and _manifest(fs, base).digest == digest:
                return parse_address(fs.unstrip_protocol(base))
    return None


def _bases(fs: Any, root: str) -> list[str]:
    """Folders with a manifest at or below `root`, sorted; hidden ones are not looked at."""
    if fs.exists(f"{root}/{NAME}"):
        return [root]
    try:
        paths = fs.find(root, maxdepth=4)
    except FileNotFoundError:
        return []
    inner = [path for path in paths if posixpath.basename(path) == NAME]
    return sorted(posixpath.dirname(p) for p in inner if "/." not in p[len(root) :])


def _manifest(fs: Any, base: str) -> Manifest:
    path = f"{base}/{NAME}"
    size = _size(fs, path)
    if size > MAX_BYTES:
        raise IntegrityError(f"{NAME} has {size} bytes, more than {MAX_BYTES}", where=path)
    return manifest_of(checked_json(fs.cat_file(path), NAME, path), path)


def _size(fs: Any, path: str) -> int:
    """The size of a file that is no link: that could lead anywhere.

    Raises:
        FileNotFoundError: There is no such file.
        IntegrityError: It is a link, or something else.
    """
    info = fs.info(path)
    if info.get("islink") or info.get("type") != "file" or info.get("size") is None:
        kind = "a link" if info.get("islink") or info.get("type") == "link" else "no file"
        raise IntegrityError(f"{posixpath.basename(path)!a} is {kind}", where=path)
    return int(info["size"])


@contextmanager
def _client(address: Address) -> Iterator[tuple[Any, str]]:
    """The file system behind an address and the path in it; its errors become ours."""
    from fsspec.core import url_to_fs

    scheme = address.text.partition("://")[0]
    try:
        fs, path = url_to_fs(address.text)
        fs.invalidate_cache()
        yield fs, path.rstrip("/")
    except (ImportError, ValueError) as error:
        if isinstance(error, ValueError) and "rotocol" not in str(error):
            raise
        raise UsageError(
            f"this installation cannot open {scheme}:// addresses",
            hint=f"Install fsspec's driver for it: pip install {_DRIVERS.get(scheme, '…')}.",
        ) from None
    except FileNotFoundError:
        raise NotFoundError(
            f"nothing at {address.text}", hint="Check the address; a bucket must be there already."
        ) from None
    except PermissionError:
        raise NetworkError(
            f"{address.text} refused access",
            hint="Check the credentials in the environment, or those of the store's own client.",
        ) from None
    except (OSError, TimeoutError) as error:
        if DiskError.of(error) is not None:
            raise
        reason = error.strerror or type(error).__name__
        raise NetworkError(f"{address.text}: {reason}", hint="Try again.") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _CLIENTS:
            raise
        raise NetworkError(
            f"{address.text}: {type(error).__name__}",
            hint="Check the network, the endpoint and the credentials in the environment.",
        ) from None
