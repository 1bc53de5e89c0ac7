"""Signatures of modules with an elliptic-curve key, through the model-signing library.

A signature covers the manifest and every file that it lists, not the card and the scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xstilts.errors import IntegrityError, NotFoundError, UsageError
from xstilts.files import scratch_folder, write_bytes
from xstilts.zoo.manifest import CARD, SCORES, SIGNATURE

_INSTALL = "pip install 'xstilts[sign]'"


def sign_folder(folder: Path, key: Path) -> None:
    """Write `model.sig` into a module folder.

    Args:
        folder: Of a module that was verified.
        key: Private elliptic-curve key, PEM, without a password.

    Raises:
        NotFoundError: No such key file.
        UsageError: The key cannot be read, or the library is not installed.
    """
    _require(key)
    signing = _library("signing")
    with scratch_folder("sign") as temporary:
        made = temporary / SIGNATURE
        config = signing.Config().set_hashing_config(_hashing(folder))
        try:
            config.use_elliptic_key_signer(private_key=key).sign(folder, made)
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"{key.name} cannot sign: {type(error).__name__}",
                hint="It must be a private elliptic-curve key in PEM form without a password.",
            ) from None
        write_bytes(folder / SIGNATURE, made.read_bytes())


def verify_signature(folder: Path, key: Path) -> None:
    """Check that `model.sig` was made over this very module with the private half of `key`.

    Raises:
        IntegrityError: There is no signature, it is of another module, or of another key.
        NotFoundError: No such key file.
        UsageError: The library is not installed.
    """
    _require(key)
    verifying = _library("verifying")
    if not (folder / SIGNATURE).is_file():
        raise IntegrityError(
            "the module is not signed",
            where=str(folder),
            hint="Ask its author to push it with --sign, or drop --require-signature.",
        )
    config = verifying.Config().set_hashing_config(_hashing(folder))
    try:
        config.use_elliptic_key_verifier(public_key=key).verify(folder, folder / SIGNATURE)
    except Exception as error:  # noqa: BLE001  (whatever a hostile file makes the library raise)
        raise IntegrityError(
            f"the signature does not hold: {type(error).__name__}",
            where=str(folder / SIGNATURE),
            hint="The module was changed after signing, or it was signed with another key.",
        ) from None


def _hashing(folder: Path) -> Any:
    """Hash every file but those that may change after signing."""
    config = _library("hashing").Config().use_file_serialization(hashing_algorithm="sha256")
    left_out = [folder / name for name in (CARD, SCORES, SIGNATURE)]
    return config.set_ignored_paths(paths=left_out, ignore_git_paths=True)


def _require(key: Path) -> None:
    if not key.is_file():
        raise NotFoundError(f"no key file {key}", hint="Make one: openssl ecparam -genkey …")


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"model_signing.{name}")
    except ImportError:
        raise UsageError("signing needs the model-signing library", hint=_INSTALL) from None
