"""One place to work in: a session holds backbone, zoo, data and results, and has the verbs.

    session = Session(data="data", zoo="adapters_zoo")
    module = session.train("mnli", method="lora")
    session.xtreme(["none", module.reference]).to_pandas()

The command line calls the same verbs. Whatever costs seconds to import is imported by the verb that
needs it, so that a session itself is made at once.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from xstilts.session.analysing import Analysing
from xstilts.session.data import Data
from xstilts.session.demo import Demo
from xstilts.session.predicting import Predicting
from xstilts.session.recipes import Recipes
from xstilts.session.reporting import Reporting
from xstilts.session.setup import DEFAULT_BACKBONE, PRECISIONS
from xstilts.session.sharing import Sharing

if TYPE_CHECKING:
    from xstilts.composition.predictor import Predictor

__all__ = ["DEFAULT_BACKBONE", "PRECISIONS", "VERBS", "Session", "default_session", "load"]


class Session(Analysing, Recipes, Demo, Predicting, Reporting, Data, Sharing):
    """Where you work, and what you can do there; `Setup` says what it takes.

    The verbs stand by subject in the files beside: training, evaluating, analysing,
    recipes, the demo, predicting, reporting, data, sharing.
    """


# ------------------------------------------------------------------------------- short forms

VERBS = (
    *("train", "compose", "explain", "search", "evaluate", "xtreme", "align", "rank", "predict"),
    *("run_recipe", "push", "pull", "report", "model", "dataset", "export", "score", "translate"),
    *("import_module", "list_data", "check_data", "prepare_data", "bundle_data"),
)
"""Names of `xstilts.…` that are verbs of the default session."""


@cache
def default_session() -> Session:
    """The session of the short forms, with the environment's places; made when first used."""
    return Session()


def load(
    expression: str,
    *,
    language: str = "",
    task: str = "",
    **options: Any,
) -> Predictor:
    """The expression with its weights, and its head where it has one, ready to be asked.

    Args:
        expression: A module reference or an expression, such as `stack(lang-{lang}, mnli)`.
        language: Fills `{lang}`.
        task: Which head, for a module with several; the first one when empty.
        options: Of a session of its own: `backbone`, `zoo`, `world`, `device`, `offline`, …
    """
    session = Session(**options) if options else default_session()
    return session.load(expression, language=language, task=task)
