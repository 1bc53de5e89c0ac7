"""What `xstilts doctor` finds: versions, devices, folders, the hub."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from xstilts.config import paths

PACKAGES = (
    "xstilts",
    "torch",
    "transformers",
    "adapters",
    "peft",
    "datasets",
    "huggingface_hub",
    "accelerate",
    "faiss-cpu",
)


@dataclass(frozen=True)
class Check:
    """One line: a name, what was found, and advice when something can be better."""

    name: str
    value: str | int | bool
    advice: str = ""

    @property
    def shown(self) -> str:
        """The value in a table."""
        return ("no", "yes")[self.value] if isinstance(self.value, bool) else str(self.value)


def diagnose(
    zoo: Path, results: Path, data: Path | None, *, offline: bool, ask_hub: bool
) -> list[Check]:
    """Everything worth knowing before asking for help; opens a socket only with `ask_hub`."""
    items = [Check("python", platform.python_version())]
    items += [_package(name) for name in PACKAGES]
    items += _devices()
    items += [
        _folder("home", paths.home_folder()),
        _folder("cache", paths.cache_folder()),
        _folder("zoo", zoo),
        _folder("results", results),
        _folder("data", data) if data else Check("data", "not set", "Give --data or XSTILTS_DATA."),
        Check("offline", offline or os.environ.get("HF_HUB_OFFLINE") == "1"),
    ]
    if ask_hub:
        items.append(_hub(offline))
    return items


def _package(name: str) -> Check:
    try:
        return Check(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Check(name, "not installed", f"pip install {name}")


def _devices() -> list[Check]:
    import torch

    from xstilts.backbone.machine import machine
    from xstilts.config.cpu import waiting

    found = machine()
    items = [
        Check("cpu", found["cpu"]),
        Check("cpu threads", int(found["threads"])),
        Check("thread waiting", waiting()),
        Check("cpu kernels", f"{found['kernels']}, oneDNN {found['onednn'] or 'none'}"),
        Check("blas", found["blas"]),
    ]
    if not torch.cuda.is_available():
        return [*items, Check("gpu", "none")]
    count = torch.cuda.device_count()
    return [*items, *(Check(f"gpu {n}", torch.cuda.get_device_name(n)) for n in range(count))]


def _folder(name: str, path: Path) -> Check:
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(existing).free / 2**30
    state = "" if path.exists() else " (not there yet)"
    advice = "" if os.access(existing, os.W_OK) else "Not writable."
    if free < 1:
        advice = "Less than 1 GiB free."
    return Check(name, f"{path}{state}, {free:.0f} GiB free", advice)


def _hub(offline: bool) -> Check:
    if offline:
        return Check("hub", "not asked", "Run without --offline.")
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    from xstilts.config.hub_models import no_network

    closed = no_network(offline)
    if closed is not None:
        return Check("hub", f"not reached: {closed.what}", "Check the connection or HF_ENDPOINT.")
    if get_token() is None:
        return Check("hub", "reached, without a token", "To push: `hf auth login`, or HF_TOKEN.")
    try:
        user = HfApi().whoami()
    except HfHubHTTPError as error:
        return Check(
            "hub", f"refused: {error.response.status_code}", "Log in with `hf auth login`."
        )
    except Exception as error:  # noqa: BLE001  (whatever a broken network raises is the finding)
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Check("hub", f"not reached: {first[:80]}", "Check the connection or HF_ENDPOINT.")
    return Check("hub", f"reached as {user['name']}")
