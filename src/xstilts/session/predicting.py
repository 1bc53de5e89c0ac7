"""The verbs that give a loaded model: predictions, a model for your own loop, a task's rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xstilts.session.setup import Setup

if TYPE_CHECKING:
    from datasets import Dataset

    from xstilts.composition.predictor import InputRow, Predictor
    from xstilts.composition.trainable import TrainableModel
    from xstilts.report.results import PredictionsResult


class Predicting(Setup):
    """The verbs that give a loaded model; see `Session`."""

    def load(
        self, expression: str, *, language: str = "", task: str = "", backbone: str = ""
    ) -> Predictor:
        """An expression with its weights, and its head where it has one, ready to be asked.

        Args:
            expression: A module reference or an expression, such as `stack(lang-{lang}, mnli)`.
            language: Fills `{lang}`.
            task: Which head, for a module with several; the first one when empty.
            backbone: Instead of the session's.

        Raises:
            UsageError: The expression makes no sense, or needs a language.
            NotFoundError: A module or the backbone is not there.
            BackboneMismatchError: A module belongs to another backbone.
        """
        from xstilts.composition.refusals import require_language

        require_language(expression, language)
        self.require_parts(expression, language)
        loaded = self.backbone_for(expression, backbone)  # says so before torch is imported
        from xstilts.composition.predictor import predictor

        return predictor(expression, self.zoo, loaded, language, task)

    def predict(
        self,
        expression: str,
        rows: InputRow | Sequence[InputRow],
        *,
        language: str = "",
        **options: Any,
    ) -> PredictionsResult:
        """One prediction an input; see `load` and `Predictor.predict`."""
        from xstilts.report.results import PredictionsResult

        asked = self.asked(expression, language=language, **options)
        return PredictionsResult(tuple(asked.predict(rows, language=language)))

    def asked(
        self, expression: str, *, language: str = "", task: str = "", backbone: str = ""
    ) -> Predictor:
        """As `load`; what gives no predictions is refused before a weight is read."""
        chosen = self.reference_for(expression, backbone)
        self._tell_loading(chosen)
        from xstilts.composition.refusals import require_answers

        require_answers(expression, self.zoo, language, task)
        return self.load(expression, language=language, task=task, backbone=chosen)

    def model(
        self, expression: str, task: str, *, language: str = "", seed: int = 42, backbone: str = ""
    ) -> TrainableModel:
        """A composed model as an `nn.Module` for your own loop or the transformers Trainer.

        Its `forward(input_ids, attention_mask, labels)` gives loss and logits. It works on a copy
        of the backbone, with the expression's head for the task, or a new one.

        Args:
            expression: Such as `fuse(mnli, qqp)`, or `none`.
            task: What is predicted, such as `xnli`; it has the labels of the task that trains it.
            language: Fills `{lang}`.
            seed: Of a new head.
            backbone: Instead of the session's.
        """
        from xstilts.composition.load import load_expression
        from xstilts.composition.trainable import TrainableModel
        from xstilts.config.load import load_task, train_task_of
        from xstilts.data.sources import task_in_world

        self.require_parts(expression, language)
        loaded = self.backbone_for(expression, backbone)
        spec = task_in_world(load_task(train_task_of(task) or task), self.data)
        whole = load_expression(expression, self.zoo, loaded, language)
        return TrainableModel(whole, loaded, spec, seed)

    def dataset(
        self,
        task: str,
        split: str = "train",
        langs: Sequence[str] = (),
        *,
        limit: int | None = None,
        seed: int = 42,
        tokenized: bool = False,
        backbone: str = "",
    ) -> Dataset:
        """Rows of a task as a `datasets.Dataset`.

        Args:
            task: Name, or path of a YAML.
            split: Such as `train`, `validation` or `test`.
            langs: Languages; the source language when empty.
            limit: At most this many rows of each language, a nested subset for a seed.
            seed: Of that subset.
            tokenized: `input_ids`, `attention_mask` and labels as transformers names them, as the
                backbone's tokenizer cuts them, instead of the texts.
            backbone: Instead of the session's, for its tokenizer.

        Raises:
            NotFoundError: There is no such task, language or split, or no data.
            DataError: A row is broken; file and row are named.
        """
        from xstilts.config.load import load_task
        from xstilts.data.sources import task_in_world
        from xstilts.tasks.dataset import task_dataset

        return task_dataset(
            task_in_world(load_task(task), self.data),
            split,
            langs,
            self.data,
            backbone=self.backbone(backbone) if tokenized else None,
            offline=self.no_hub,
            limit=limit or 0,
            seed=seed,
        )
