"""The verbs that give modules to others, and take them: export, push, pull, remove."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from xstilts.errors import UsageError
from xstilts.session.setup import Setup, expanded

if TYPE_CHECKING:
    from xstilts.report.results import ExportResult, ModuleResult, PushResult
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
        made = export(kind, expression, self.zoo, self.backbone(chosen), Path(to), language)
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
        made = hubs.push(
            entry.folder,
            target,
            hubs.PushOptions(**options),
            zoo=self.zoo,
            scores=scores,
            sign=expanded(sign),
            offline=self.offline,
        )
        return PushResult(entry.reference, target, len(scores), made.reference, made.url)

    def pull(self, reference: str, *, key: str | Path | None = None) -> ModuleResult:
        """Fetch a module into the zoo; it appears there verified, or not at all.

        Args:
            reference: `hf:org/name@v1`, `s3://bucket/path`, `./folder`.
            key: Refuse it unless this public key signed.
        """
        from xstilts.report.results import ModuleResult
        from xstilts.zoo import hubs

        return ModuleResult(hubs.pull(reference, self.zoo, key=expanded(key), offline=self.offline))

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
