"""The verbs that give modules to others, and take them: export, push, pull, import, remove."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from xstilts.errors import NotFoundError, UsageError
from xstilts.files import scratch_folder
from xstilts.session.setup import Setup, expanded

if TYPE_CHECKING:
    from xstilts.report.results import ExportResult, ImportResult, ModuleResult, PushResult
    from xstilts.zoo import Entry


class Sharing(Setup):
    """The verbs that give modules to others, and take them; see `Session`."""

    def export(
        self,
        kind: str,
        expression: str,
        to: str | Path,
        *,
        language: str = "",
        backbone: str = "",
    ) -> ExportResult:
        """Write a module in a form that runs without xstilts, checked by loading it again.

        Args:
            kind: `hf` (a transformers model of the task's class), `merged` (the same without the
                head), `adapters`, `peft` or `onnx`.
            expression: A module or an expression.
            to: A folder that does not exist yet.
            language: Fills `{lang}`.
            backbone: Instead of the session's.

        Raises:
            NotFoundError: There is no such kind or module.
            UsageError: The folder exists, or the expression cannot be expressed that way.
            IntegrityError: What was written computes something else; nothing is left.
        """
        chosen = self.reference_for(expression, backbone)
        self._tell_loading(chosen)
        from xstilts.composition.export import export, require_exportable
        from xstilts.report.results import ExportResult

        require_exportable(kind, expression, self.zoo, language)
        loaded = self.backbone(chosen)
        with self.progress("exporting") as progress:
            progress(f"{expression} as {kind}", 0.0)
            made = export(kind, expression, self.zoo, loaded, Path(to), language)
        return ExportResult(kind, made)

    def push(
        self,
        reference: str,
        target: str,
        *,
        sign: str | Path | None = None,
        **options: Any,
    ) -> PushResult:
        """Share a module with its card and its stored scores, all of it or nothing.

        Args:
            reference: Of the zoo, such as `mnli/lora`.
            target: `hf:org/name`, `s3://bucket/zoo`, `folder:/shared/zoo`.
            sign: Private key (PEM) to sign with.
            options: Fields of `PushOptions`: `private`, `create_pr`, `tags`, `message`, `license`.
        """
        from xstilts.report.results import PushResult
        from xstilts.zoo import hubs

        entry = self.zoo.find(reference)
        scores = self.results.of_module(entry.manifest.digest)
        with self.progress(f"pushing {entry.reference}") as progress:
            made = hubs.push(
                entry.folder,
                target,
                hubs.PushOptions(**options),
                zoo=self.zoo,
                scores=scores,
                sign=expanded(sign),
                offline=self.offline,
                progress=progress,
            )
        return PushResult(entry.reference, target, len(scores), made.reference, made.url)

    def pull(self, reference: str, *, key: str | Path | None = None) -> ModuleResult:
        """Fetch a module into the zoo; it appears there verified, or not at all.

        Args:
            reference: `hf:org/name@v1`, `s3://bucket/path`, `./folder`.
            key: Refuse it unless this public key signed.
        """
        from xstilts.report.results import ModuleResult

        return ModuleResult(self.pulled(reference, expanded(key)))

    def import_module(
        self,
        place: str,
        *,
        name: str = "",
        task: str = "",
        backbone: str = "",
        from_pickle: bool = False,
        allow_base_mismatch: bool = False,
        dry_run: bool = False,
    ) -> ImportResult:
        """Take a module of the adapters library or of peft, converted to the zoo's own methods.

        Args:
            place: A folder, or `hf:org/name@revision`.
            name: In the zoo; the folder's when empty.
            task: Whose labels its head speaks; without it no head is taken.
            backbone: Instead of the session's.
            from_pickle: Read `.bin` files, in another process.
            allow_base_mismatch: Take a module of another base model.
            dry_run: Only say what it would be.

        Raises:
            NotFoundError: There is no such folder, repository or task.
            UsageError: Its weights are a pickle.
            IntegrityError: It is no such folder, or holds what is not supported.
            BackboneMismatchError: It names another base model, or none.
        """
        from xstilts.composition.parser import require_readable
        from xstilts.config.load import load_task

        remote = place.startswith("hf:")
        stem = place.partition("@")[0].rpartition("/")[2] if remote else Path(place).resolve().name
        called = name or stem.lower()
        require_readable(called)
        if not dry_run:
            self.require_writable("zoo")
        if task:
            load_task(task)
        if not remote and not Path(place).is_dir():
            raise NotFoundError(f"no folder {place}", hint="Check the path, or name hf:org/name.")
        given = backbone or self.backbone_reference
        self.require_backbone(given)
        from xstilts.composition import importing
        from xstilts.report.results import ImportResult
        from xstilts.zoo import hubs

        with scratch_folder("import") as temporary:
            path, origin = temporary if remote else Path(place), ""
            if remote:
                origin = hubs.fetch_files(place, importing.FILES, path, offline=self.offline)
            loaded = self.backbone(given)
            found = importing.read_folder(path, loaded, task, pickles=from_pickle)
            allow = allow_base_mismatch
            importing.require_base(found, loaded.identity, given=given, allow=allow)
            entry = None
            if not dry_run:
                entry = importing.add_to(self.zoo, found, called, loaded, path, origin)
        return ImportResult(found, origin, entry)

    def remove(self, reference: str, *, dry_run: bool = False) -> Entry:
        """Take a module out of the zoo; with `dry_run` only say which one it would be.

        Raises:
            UsageError: Other modules are made of it.
        """
        zoo = self.zoo
        entry = zoo.find(reference)
        users = [
            other.reference
            for other in zoo.entries()
            if any(parent.digest == entry.manifest.digest for parent in other.manifest.parents)
        ]
        if users:
            raise UsageError(
                f"{entry.reference} is part of {', '.join(users)}", hint="Remove those."
            )
        if not dry_run:
            zoo.remove(entry)
        return entry
