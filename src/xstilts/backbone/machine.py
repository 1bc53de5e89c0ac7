"""What a computation ran on, as far as it decides the last bits of a result."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from xstilts.config.cpu import cores
from xstilts.errors import UsageError

GIB = 1 << 30
_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_FLAGS = ("flags", "Features")


@cache
def _processor() -> str:
    """The processor's name, or what the platform says of it."""
    return _said("model name") or platform.processor() or platform.machine()


def _said(*names: str) -> str | None:
    """What Linux says first of the processor under one of these names."""
    lines = _CPUINFO.read_text(encoding="utf-8").splitlines() if _CPUINFO.is_file() else []
    values = (line.partition(":")[2].strip() for line in lines if line.startswith(names))
    return next(values, None)


def free_bytes(device: str = "cpu") -> int | None:
    """Memory of a device that can be taken without swapping; None where nobody says."""
    kind = device.partition(":")[0]
    if kind == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    if kind != "cpu":
        return None
    found = _MEMINFO.read_text(encoding="utf-8") if _MEMINFO.is_file() else ""
    kilobytes = re.search(r"MemAvailable:\s*(\d+) kB", found)
    return 1024 * int(kilobytes[1]) if kilobytes else None


def require_bf16(device: str) -> None:
    """Refuse bfloat16 where it is emulated: several times slower than float32, and no better.

    Raises:
        UsageError: `device` is a CPU without them.
    """
    if device.partition(":")[0] == "cpu" and not has_bf16():
        raise UsageError(
            f"this processor ({_processor()}) has no bfloat16 units (AVX512-BF16 or AMX), "
            "so that bf16 is slower here than fp32",
            hint="Leave out bf16: --precision fp32, or --set train.precision=fp32.",
        )


@cache
def processor_flags() -> frozenset[str] | None:
    """Names of what the processor can do, as Linux says them; None where nothing says."""
    said = _said(*_FLAGS)
    return None if said is None else frozenset(said.split())


def has_bf16(unsaid: bool = True) -> bool:
    """Whether the processor computes in bfloat16; `unsaid` where it does not say."""
    flags = processor_flags()
    return unsaid if flags is None else bool({"avx512_bf16", "amx_bf16", "bf16"} & flags)


def _after(text: str, name: str) -> str:
    """The word after a name; empty where the name is not there."""
    return re.split(r"[\s,]", text.partition(name)[2], maxsplit=1)[0]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread until the block ends: equal bits on any number of cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def hardware() -> list[str]:
    """Processor, cores, threads and GPUs of this machine, as far as they show without torch."""
    asked = [os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")]
    gpus = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    return [_processor(), str(cores()), *asked, *gpus]


def machine() -> dict[str, str]:
    """Processor, threads and kernels of this process; equal values give equal bits.

    `kernels` is the instruction set that torch's own kernels were chosen for, `onednn` and `blas`
    the libraries behind matrix products; `gpu` is there where one is.
    """
    import torch  # the rest is asked where no model runs

    built = torch.__config__.show()
    onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    found = {
        "cpu": _processor(),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "onednn": _after(built, "MKL-DNN v") if onednn else "",
        "blas": _after(built, "BLAS_INFO="),
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found
