"""The files of a split of a hub data set, fetched as they are at a pinned revision.

They go through the hub's cache, where a later run finds them, also without a network.
"""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from xstilts.config.hub_models import arriving, is_connection_error, no_network
from xstilts.config.specs import HubSource, SourceSpec, TaskSpec
from xstilts.data import hub_copy
from xstilts.errors import DiskError, NetworkError, NotFoundError


def cached(hub: HubSource) -> Path | None:
    """The folder of what the hub's cache has of a data set at its revision; None without any."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                hub.repo, repo_type="dataset", revision=hub.revision, local_files_only=True
            )
        )
    except LocalEntryNotFoundError as error:
        # From version 2, a folder with a split's files only is "incomplete", and named like this.
        found = getattr(error, "snapshot_path", None)
        return Path(found) if found else None
    except FileNotFoundError:
        return None


def fetch(
    task: TaskSpec, source: SourceSpec, split: str, language: str
) -> tuple[Path, tuple[Path, ...]]:
    """A folder with the files of a split and the card, and these files, in order.

    Raises:
        NotFoundError: There is no such data set.
        NetworkError: The hub cannot be reached, or refuses.
        DataError: The card is broken, or the split is there in several kinds of files.
    """
    assert source.hub is not None
    hub = source.hub
    closed = no_network(offline=False)
    if closed is not None:
        folder = cached(hub)
        if folder is None:
            raise type(closed)(f"cannot fetch {hub.repo}: {closed.what}")
        return folder, hub_copy.split_files(folder, task, source, split, language)
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    at = {"repo_type": "dataset", "revision": hub.revision}
    with (
        _errors(hub.repo),
        arriving(hub.repo, "dataset"),
        tempfile.TemporaryDirectory() as temporary,
    ):
        names = HfApi().list_repo_files(hub.repo, **at)
        # Which files are the split's is decided by their names and the card alone.
        outline = Path(temporary) / hub.repo.rpartition("/")[2]
        outline.mkdir()
        for name in map(PurePosixPath, names):
            if not name.is_absolute() and ".." not in name.parts:
                (outline / name).parent.mkdir(parents=True, exist_ok=True)
                (outline / name).touch()
        if hub_copy.CARD in names:
            card = Path(hf_hub_download(hub.repo, hub_copy.CARD, **at))
            (outline / hub_copy.CARD).write_bytes(card.read_bytes())
        chosen = hub_copy.split_files(outline, task, source, split, language)
        inside = [path.relative_to(outline) for path in chosen]
        script = Path(f"{outline.name}.py")
        wanted = [*inside, *(path for path in (Path(hub_copy.CARD), script) if str(path) in names)]
        patterns = [glob.escape(path.as_posix()) for path in wanted]
        folder = Path(snapshot_download(hub.repo, allow_patterns=patterns, **at))
    return folder, tuple(folder / path for path in inside)


@contextmanager
def _errors(repo: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        yield
    except RepositoryNotFoundError:
        raise NotFoundError(
            f"data set {repo} does not exist on the hub, or it is private",
            hint="Check the task's YAML, or log in with `hf auth login`.",
        ) from None
    except Exception as error:
        unreachable = isinstance(error, HfHubHTTPError) or is_connection_error(error)
        if not unreachable and (not isinstance(error, OSError) or DiskError.of(error) is not None):
            raise
        message = " ".join(str(error).split())[:200]
        raise NetworkError(
            f"cannot fetch {repo}: {message}",
            hint="Check the connection, or put the original files below --data.",
        ) from None
