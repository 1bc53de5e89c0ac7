"""The Hugging Face Hub, or a server that speaks its protocol (`HF_ENDPOINT`).

One module is one repository: `hf:org/name@revision`. A push is one commit, so the repository holds
the old module or the new one. A pull takes the manifest at a revision, and then only the files that
it lists, at the very commit where the manifest was; they go through the hub's cache. The client
continues a transfer that breaks; the next command continues one that ended before with
`huggingface_hub` up to 1.17, and fetches that one file anew with later ones, which keep no part.

The token is the client's own affair: `HF_TOKEN`, or what `hf auth login` stored.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from xstilts.config.hub_models import no_network
from xstilts.config.progress import ProgressFn
from xstilts.errors import IntegrityError, NetworkError, NotFoundError, OfflineError, UsageError
from xstilts.files import sha256_file
from xstilts.zoo import Manifest, read_manifest
from xstilts.zoo.hubs import Address, PushOptions, RemoteRef, Transfer, tag_taken
from xstilts.zoo.hubs._hf_errors import ATTEMPTS, lacks_xet, translated
from xstilts.zoo.manifest import CARD, NAME, SCORES, SIGNATURE, UNLISTED, FileRecord
from xstilts.zoo.strict_json import MAX_BYTES
from xstilts.zoo.verify import check_file_list

SCHEMES = ("hf:",)
CACHES = IMPORTS = True
OPTIONS = ("private", "create_pr", "tags", "message")


def closed(address: Address, *, offline: bool) -> NetworkError | None:
    """Why the hub cannot be reached now; None when it can."""
    _repo(address)
    return no_network(offline)


def push(folder: Path, address: Address, options: PushOptions, progress: ProgressFn) -> RemoteRef:
    """Commit exactly this folder's files to the repository, which is made when it is missing."""
    repo, api, manifest = _repo(address), _api(), read_manifest(folder)
    branch = None if options.create_pr else address.revision or None

    def prepare() -> list[str]:
        api.create_repo(repo, private=options.private or None, exist_ok=True)
        if options.private and not api.repo_info(repo).private:
            raise UsageError(
                f"{address.text} is there already, and public",
                hint="Make it private in its settings, name another, or leave out --private.",
            )
        if branch:
            api.create_branch(repo, branch=branch, exist_ok=True)
        return _missing_tags(api, address, folder, options.tags)

    def commit() -> Any:
        head = str(api.repo_info(repo, revision=branch).sha)
        send = partial(
            api.create_commit,
            repo,
            commit_message=options.message or f"Add {manifest.name} {manifest.digest[:12]}",
            revision=address.revision or None,
            create_pr=options.create_pr or None,
            parent_commit=head,
        )
        return _send(send, folder, api.list_repo_files(repo, revision=head))

    progress(f"preparing {repo}", 0.0)
    tags = translated(prepare, address.text)
    sizes = [path.stat().st_size for path in folder.iterdir()]
    progress(f"sending {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB", 0.0)
    once = 1 if options.create_pr else ATTEMPTS
    made = translated(commit, address.text, attempts=once)
    for tag in tags:
        translated(partial(api.create_tag, repo, tag=tag, revision=made.oid), address.text)
    return RemoteRef(f"hf:{repo}@{made.oid}", manifest.digest, str(made.pr_url or made.commit_url))


def _missing_tags(api: Any, address: Address, folder: Path, tags: Sequence[str]) -> list[str]:
    """The tags that are still to be made.

    Raises:
        UsageError: One of them is at a commit with other files.
    """
    repo = _repo(address)
    commits = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo).tags}
    known = [tag for tag in tags if tag in commits]
    taken = [tag for tag in known if not _holds(api, repo, commits[tag], folder)]
    if taken:
        raise tag_taken(address.text, taken)
    return [tag for tag in tags if tag not in known]


def _send(send: Callable[..., Any], folder: Path, there: Iterable[str]) -> Any:
    """One commit of a folder's files on top of what is there, or nothing where all is there."""
    names = sorted(path.name for path in folder.iterdir())
    stale = sorted(set(there) - {*names, ".gitattributes"})
    gone = [CommitOperationDelete(name) for name in stale]
    try:
        added = [CommitOperationAdd(name, str(folder / name)) for name in names]
        return send(operations=[*added, *gone])
    except ConnectionError as error:
        if not lacks_xet(error):
            raise
    with ExitStack() as stack:  # the client sends open files without xet
        opened = {name: stack.enter_context((folder / name).open("rb")) for name in names}
        added = [CommitOperationAdd(name, file) for name, file in opened.items()]
        return send(operations=[*added, *gone])


def _holds(api: Any, repo: str, commit: str, folder: Path) -> bool:
    """Whether a commit has exactly the files of a folder."""
    there = {info.path: info for info in api.list_repo_tree(repo, revision=commit)}
    there.pop(".gitattributes", None)
    files = {path.name: path for path in folder.iterdir()}
    return there.keys() == files.keys() and all(
        _is_blob(info, files[name]) for name, info in there.items()
    )


def _is_blob(info: Any, path: Path) -> bool:
    """Whether what the hub says of a file is true of a local one."""
    if getattr(info, "lfs", None):
        return bool(info.lfs.sha256 == sha256_file(path))
    data = path.read_bytes()
    git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
    return bool(getattr(info, "blob_id", "") == git.hexdigest())


def pull(address: Address, into: Path, progress: ProgressFn, *, offline: bool) -> RemoteRef:
    """Fetch the module at a revision through the cache."""
    repo = _repo(address)
    download = partial(_download, repo, offline=offline)
    path = download(NAME, address.revision)
    commit = _commit_of(path)
    _copy(path, into / NAME)
    manifest = read_manifest(into)
    check_file_list(manifest, address.text)
    there = _sizes(repo, commit, [r.path for r in manifest.files], offline=offline)
    sizes = {record.path: record.size for record in manifest.files}
    transfer = Transfer("fetching", sizes, progress)
    for record in manifest.files:
        _check_size(there, record, address.text)
        with transfer.of(record.path):
            found = download(record.path, commit)
            if sha256_file(found) != record.sha256 and not offline:
                found = download(record.path, commit, again=True)  # a broken file in the cache
            _copy(found, into / record.path)
    for name in (CARD, SCORES, SIGNATURE):
        if name in there or offline:
            with suppress(NotFoundError, OfflineError):  # not every module has them
                _copy(download(name, commit), into / name)
    return RemoteRef(f"hf:{repo}@{commit}", manifest.digest)


def fetch_files(address: Address, names: Sequence[str], into: Path, *, offline: bool) -> str:
    """Fetch those of some files that a repository has, of one commit; returns where they are from.

    Raises:
        NotFoundError: It lacks the first of them.
    """
    repo = _repo(address)
    first = _download(repo, names[0], address.revision, offline=offline)
    _copy(first, into / names[0])
    commit = _commit_of(first)
    there = _sizes(repo, commit, list(names), offline=offline)
    for name in names[1:]:
        if name in there or offline:
            with suppress(NotFoundError, OfflineError):  # nobody has all of them
                _copy(_download(repo, name, commit, offline=offline), into / name)
    return f"hf:{repo}@{commit}"


def card(address: Address, manifest: Manifest) -> str:
    """The text of the repository's card; empty without one."""
    del manifest
    try:
        path = _download(_repo(address), CARD, address.revision, offline=False)
    except NotFoundError:
        return ""
    return path.read_text(encoding="utf-8", errors="replace")


# ------------------------------------------------------------------------------------- details


def _repo(address: Address) -> str:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(address.location)
    except HFValidationError:
        raise UsageError(
            f"{address.text!r} names no repository", hint="Write hf:org/name or hf:org/name@v1."
        ) from None
    return address.location


def _api() -> Any:
    _hush()
    return HfApi(library_name="xstilts")


def _hush() -> None:
    """Keep the client's bars off, where ours shows the same, and its log to errors.

    Its warnings about retries hold whole addresses, and those of uploads are signed.
    """
    huggingface_hub.utils.logging.set_verbosity_error()
    huggingface_hub.utils.disable_progress_bars()


def _download(repo: str, name: str, revision: str, *, offline: bool, again: bool = False) -> Path:
    """A file of a repository in the hub's cache; `again` does not trust what is there."""
    _hush()
    return translated(
        lambda: Path(
            huggingface_hub.hf_hub_download(
                repo,
                name,
                revision=revision or None,
                local_files_only=offline,
                force_download=again and not offline,
            )
        ),
        f"hf:{repo}" + (f"@{revision}" if revision else ""),
        missing=name,
    )


def _commit_of(path: Path) -> str:
    """The commit that a file of the cache belongs to: `…/snapshots/<commit>/<name>`."""
    return path.parent.name


def _copy(source: Path, target: Path) -> None:
    """Copy a file out of the cache, whose links may only lead into the cache."""
    repository = source.parents[2]
    if not source.resolve().is_relative_to(repository.resolve()):
        raise IntegrityError(f"'{source.name}' leads out of the cache", where=str(source))
    if target.name in UNLISTED and source.stat().st_size > MAX_BYTES:
        raise IntegrityError(f"file '{target.name}' is too large", where=str(source))
    shutil.copyfile(source, target)


def _sizes(repo: str, commit: str, names: list[str], *, offline: bool) -> dict[str, int]:
    """Name to size of the files that the hub has of those wanted, before they are fetched."""
    if offline:
        return {}
    wanted = [*names, CARD, SCORES, SIGNATURE]
    found = translated(
        lambda: _api().get_paths_info(repo, wanted, revision=commit), f"hf:{repo}@{commit}"
    )
    return {info.path: info.size for info in found if hasattr(info, "size")}


def _check_size(there: dict[str, int], record: FileRecord, where: str) -> None:
    if there and there.get(record.path, record.size) != record.size:
        raise IntegrityError(
            f"file '{record.path}' has {there[record.path]} bytes, not {record.size}", where=where
        )
