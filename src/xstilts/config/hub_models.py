"""Models that transformers loads: does the hub answer, what is in its cache, was a load whole?"""

from __future__ import annotations

import gc
import json
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from xstilts.config.progress import telling
from xstilts.errors import DataError, DiskError, NetworkError, NotFoundError, OfflineError

if TYPE_CHECKING:
    from torch import Tensor, nn

os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "true")
# Otherwise transformers sends the user's token to a service that opens a request in a repository
# without safetensors, and fetches its weights a second time.

ARRIVING_SECONDS = 0.5
"""Between two looks at what has come into the hub's cache."""
WAIT_SECONDS = 2.0
"""How long the hub may take to answer, unless `HF_HUB_ETAG_TIMEOUT` says otherwise."""


def no_network(offline: bool) -> NetworkError | None:
    """Why nothing may or can be fetched from the hub now; None where it can.

    Args:
        offline: Whether this run must not open a socket.
    """
    from huggingface_hub import constants

    closed: NetworkError
    if offline or constants.HF_HUB_OFFLINE:
        closed = OfflineError("this run is offline")
    elif _answers(constants.ENDPOINT):
        return None
    else:
        closed = NetworkError(f"{constants.ENDPOINT} does not answer")
    # hub 2 asks its server for a list as it writes the headers, also of what is only read here
    constants.HF_HUB_DISABLE_TELEMETRY = True
    return closed


_CLIENTS = ("requests", "urllib3", "httpx", "httpcore", "httpx2", "httpcore2")
"""The packages whose errors mean a failed connection: `huggingface_hub` 0, 1 and 2."""


def is_connection_error(error: Exception) -> bool:
    """Whether a connection failed, in any of the clients that the hub library has used."""
    package = type(error).__module__.partition(".")[0]
    return package in _CLIENTS or isinstance(error, ConnectionError | TimeoutError)


@cache
def _answers(endpoint: str) -> bool:
    def ask(seconds: float) -> None:
        from huggingface_hub.utils import get_session

        get_session().head(endpoint, timeout=seconds)

    return in_time(ask)


def in_time(ask: Callable[[float], object]) -> bool:
    """Whether a remote answers what `ask` asks, within the seconds that it is given.

    What it raises counts as no answer where a connection failed, and else is raised.
    """
    failures: list[Exception] = []
    done = threading.Event()
    seconds = float(os.environ.get("HF_HUB_ETAG_TIMEOUT") or WAIT_SECONDS)

    def run() -> None:
        try:
            ask(seconds)
        except Exception as error:  # noqa: BLE001  (raised by whoever waits for it)
            failures.append(error)
        finally:
            done.set()

    # Looking up a name knows no time limit, so it must not be this thread that waits for it.
    threading.Thread(target=run, daemon=True).start()
    answered = done.wait(seconds)
    for failure in failures:
        if not is_connection_error(failure) and not isinstance(failure, OSError):
            raise failure
    return answered and not failures


@contextmanager
def arriving(repo: str, kind: str = "model") -> Iterator[None]:
    """Tell the progress that is shown what comes into the hub's cache, without the client's bars.

    Args:
        repo: Its name on the hub.
        kind: `model` or `dataset`.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    blobs = Path(constants.HF_HUB_CACHE, f"{kind}s--{repo.replace('/', '--')}", "blobs")
    say, shown, done = telling(), not are_progress_bars_disabled(), threading.Event()
    before = _bytes_in(blobs)

    def watch() -> None:
        whole, reported = False, 0
        while not whole:
            whole = done.wait(ARRIVING_SECONDS)
            fresh = _bytes_in(blobs) - before
            if fresh > reported:
                say(f"fetching {repo}, {fresh / 1e6:.1f} MB so far")
                reported = fresh

    disable_progress_bars()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        if shown:
            enable_progress_bars()


def _bytes_in(folder: Path) -> int:
    """Of its files, those that are being written included."""
    sizes = 0
    for path in folder.glob("*"):
        with suppress(OSError):  # renamed meanwhile
            sizes += path.stat().st_size
    return sizes


@contextmanager
def load_errors(
    what: str, place: str, closed: NetworkError | None, model_types: Collection[str] = ()
) -> Iterator[None]:
    """Turn what the libraries raise for a missing or broken model into our errors.

    Args:
        what: The kind of model, for messages.
        place: Its folder, or its name on the hub.
        closed: Why nothing can be fetched from the hub; None where it can.
        model_types: That would do; models of these in the hub's cache are listed. Empty for all.

    Raises:
        DataError: The weight file is broken.
        NotFoundError: The folder lacks a file.
        NetworkError: It is not on this machine and cannot be fetched.
    """
    from huggingface_hub.errors import HFValidationError
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise DataError(
            f"the weights of {what} '{place}' are broken: {error}",
            hint="A download that was cut off, a web page, or a pointer file (`git lfs pull`)?",
        ) from None
    except (UnpicklingError, EOFError) as error:
        first = str(error).split(". ")[0] or type(error).__name__
        raise DataError(
            f"the weights of {what} '{place}' are a pickle that is broken or holds more than "
            f"tensors: {first}",
            hint="Only tensors are read from one: take a copy that has model.safetensors.",
        ) from None
    except (OSError, HFValidationError) as error:
        if DiskError.of(error) is not None and not isinstance(error, PermissionError):
            raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        if Path(place).expanduser().is_dir():
            raise NotFoundError(f"{what} folder '{place}' is incomplete: {first}") from None
        if not _can_be_a_repository(place):
            raise _no_such(what, place) from None
        if closed is None:
            raise NetworkError(
                f"{what} '{place}' could not be fetched: {first}",
                hint="Check the name and the connection (`xstilts doctor --hub`), or use one here.",
            ) from None
        raise _not_here(what, place, closed, model_types) from None


_OTHER_CACHES = (
    "TRANSFORMERS_CACHE",
    "PYTORCH_TRANSFORMERS_CACHE",
    "PYTORCH_PRETRAINED_BERT_CACHE",
)
"""Where transformers 4 looks instead of the hub's cache."""


def require_at_hand(
    what: str,
    place: str,
    revision: str = "",
    *,
    offline: bool = False,
    model_types: Callable[[], Collection[str]] = tuple,
) -> None:
    """Refuse a model that is nowhere and cannot be fetched, before torch is imported.

    Args:
        what: The kind of model, for messages.
        place: Its folder, or its name on the hub.
        revision: On the hub; its main branch when empty.
        offline: See `no_network`.
        model_types: See `load_errors`.

    Raises:
        NotFoundError: There is no such folder.
        NetworkError: It is not in the hub's cache, and nothing can be fetched.
    """
    if Path(place).expanduser().is_dir() or any(map(os.environ.get, _OTHER_CACHES)):
        return
    if not _can_be_a_repository(place):
        raise _no_such(what, place)
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(place, "config.json", revision=revision or None)
    closed = None if isinstance(found, str) else no_network(offline)
    if closed is not None:
        raise _not_here(what, place, closed, model_types())


def _no_such(what: str, place: str) -> NotFoundError:
    return NotFoundError(f"no {what} '{place}'", hint="Check the path or the name.")


def _not_here(
    what: str, place: str, closed: NetworkError, model_types: Collection[str]
) -> NetworkError:
    from huggingface_hub import constants

    there = ", ".join(_cached(model_types)) or "none"
    return type(closed)(
        f"{what} '{place}' is not on this machine, and {closed.what}",
        where=f"no folder of this name; such models in {constants.HF_HUB_CACHE}: {there}",
        hint="Name one of these or a local folder, or run once with a network.",
    )


def load_tokenizer(what: str, place: str, **options: Any) -> Any:
    """The tokenizer of a model, as transformers loads it; for use within `load_errors`.

    Args:
        what: The kind of model, for messages.
        place: Its folder, or its name on the hub.
        options: Of `from_pretrained`.

    Raises:
        DataError: A file of it is broken.
    """
    from huggingface_hub.errors import HFValidationError

    import_models()
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(place, **options)
    except (OSError, HFValidationError):
        raise
    except Exception as error:  # noqa: BLE001  (the tokenizers library raises nothing more special)
        first = (str(error).splitlines() or [""])[0]
        raise DataError(
            f"the tokenizer of {what} '{place}' cannot be read: {type(error).__name__}: {first}",
            hint="Look at tokenizer.json and tokenizer_config.json: one is broken, or missing.",
        ) from None


_UNASKED = ("is_sklearn_available", "is_scipy_available")


@cache
def import_models() -> None:
    """Import text generation and losses, as every model class does, but without what is unused.

    scikit-learn serves one threshold of assisted decoding there, scipy the detection of objects;
    with pandas they are a third of what starting a command costs. So would be looking for garbage
    among classes that stay.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        import transformers.utils as library

        available = {name: getattr(library, name) for name in _UNASKED}
        vars(library).update(dict.fromkeys(_UNASKED, lambda: False))
        try:
            import transformers.generation.candidate_generator
            import transformers.loss.loss_utils  # noqa: F401
        finally:
            vars(library).update(available)
    finally:
        if collected:
            gc.enable()


def _can_be_a_repository(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:  # a path
        return False
    return True


def _cached(model_types: Collection[str]) -> list[str]:
    """Names of the hub's models in its cache on this machine, sorted."""
    from huggingface_hub import constants

    found = set()
    for path in Path(constants.HF_HUB_CACHE).glob("models--*/snapshots/*/config.json"):
        try:
            model_type = json.loads(path.read_text(encoding="utf-8")).get("model_type")
        except (OSError, ValueError, AttributeError):
            continue
        if not model_types or model_type in model_types:
            found.add(path.parents[2].name.removeprefix("models--").replace("--", "/", 1))
    return sorted(found)


@contextmanager
def build_errors(what: str, place: str) -> Iterator[None]:
    """Turn what a model's class makes of wrong values in its files into our error.

    Args:
        what: The kind of model, for the message.
        place: Its folder, or its name on the hub.

    Raises:
        DataError: The model cannot be built.
    """
    from huggingface_hub.errors import HFValidationError

    wrong = (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    )
    try:
        yield
    except HFValidationError:
        raise
    except wrong as error:
        if "memory" in str(error):
            raise
        first = (str(error).splitlines() or [""])[0]
        raise DataError(
            f"{what} '{place}' cannot be built from its files: {type(error).__name__}: {first}",
            hint="Look at config.json, and at the index of the weights where there is one.",
        ) from None


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep what transformers and the hub's client log below errors off the terminal.

    Their warnings are not about what the user did: retries with whole addresses, a report of the
    head that an encoder does not take, a regular expression of Mistral's tokenizers that every
    folder of another model is suspected of. What matters of a load is checked by whoever loads.
    """
    import huggingface_hub.utils.logging as hub
    import transformers.utils.logging as library

    before: list[tuple[Any, int]] = [(module, module.get_verbosity()) for module in (hub, library)]
    for module, _ in before:
        module.set_verbosity_error()
    try:
        yield
    finally:
        for module, level in before:
            module.set_verbosity(level)


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor holds no NaN and no infinity, without a copy of it.

    `tensor.isfinite()` takes more memory than the tensor itself.
    """
    if tensor.element_size() == 1:  # torch looks for no extremes of 8-bit floats
        tensor = tensor.float()
    return tensor.numel() == 0 or all(bool(edge.isfinite()) for edge in tensor.aminmax())


def require_all_weights(what: str, model: nn.Module, report: Mapping[str, Any]) -> None:
    """Refuse a model of which something was drawn at random, or is no number.

    Args:
        what: The model, for the message.
        model: As loaded.
        report: What `from_pretrained` says of the load with `output_loading_info`.

    Raises:
        DataError: A tensor is missing in its file, of another shape there, or not finite.
    """
    odd = [key[0] if isinstance(key, tuple) else key for key in report["mismatched_keys"]]
    wild = [name for name, tensor in model.named_parameters() if not is_finite(tensor)]
    for names, problem, hint in (
        (
            report["missing_keys"],
            "are not in the weight file",
            "Is it this model's file? What was saved from a wrapped model has other names.",
        ),
        (
            odd,
            "are of another shape in its file",
            "Does config.json belong to the weights?",
        ),
        (wild, "hold NaN or infinity", "Its training diverged, or the file was damaged."),
    ):
        if names:
            shown = ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "")
            raise DataError(f"{len(names)} tensors of {what} {problem}", where=shown, hint=hint)
