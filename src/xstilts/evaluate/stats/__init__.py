"""Statistics over stored outcomes: intervals first, then tests, adjusted for what is shown.

runs = collect(store.cells())
verdicts = family([compare(runs[label], runs["none"]) for label in ("mnli", "qqp")])
print(verdicts[0])          # +3.2 points [+1.1, +5.0], p 0.004, Holm 0.008: higher
"""

from xstilts.evaluate.stats.combined import Term, combined
from xstilts.evaluate.stats.comparison import (
    compare,
    compare_all,
    difference_of_differences,
    planned,
    planned_difference,
)
from xstilts.evaluate.stats.power import POWER, detectable
from xstilts.evaluate.stats.resampling import DRAWS, LEVEL
from xstilts.evaluate.stats.samples import (
    Measured,
    Runs,
    Unit,
    collect,
    enough_outcomes,
    standard_errors,
    unit_of,
)
from xstilts.evaluate.stats.significance import (
    cohens_h,
    holm,
    mcnemar,
    sign_test,
    standard_deviation,
)
from xstilts.evaluate.stats.together import Contrast
from xstilts.evaluate.stats.verdict import (
    ALPHA,
    HIGHER,
    LOWER,
    NOTHING,
    THESE_RUNS,
    UNTESTED,
    Verdict,
    family,
    shown_p,
)

__all__ = [
    "ALPHA",
    "DRAWS",
    "HIGHER",
    "LEVEL",
    "LOWER",
    "NOTHING",
    "POWER",
    "THESE_RUNS",
    "UNTESTED",
    "Contrast",
    "Measured",
    "Runs",
    "Term",
    "Unit",
    "Verdict",
    "cohens_h",
    "collect",
    "combined",
    "compare",
    "compare_all",
    "detectable",
    "difference_of_differences",
    "enough_outcomes",
    "family",
    "holm",
    "mcnemar",
    "planned",
    "planned_difference",
    "shown_p",
    "sign_test",
    "standard_deviation",
    "standard_errors",
    "unit_of",
]
