"""Statistics over stored outcomes: intervals first, then tests, adjusted for what is shown.

runs = collect(store.cells())
verdicts = family([compare(runs[label], runs["none"]) for label in ("mnli", "qqp")])
print(verdicts[0])          # +3.2 points [+1.1, +5.0], p 0.004, Holm 0.008: higher
"""

from xstilts.evaluate.stats.combined import Term as Term
from xstilts.evaluate.stats.combined import combined as combined
from xstilts.evaluate.stats.comparison import compare as compare
from xstilts.evaluate.stats.comparison import compare_all as compare_all
from xstilts.evaluate.stats.comparison import difference_of_differences as difference_of_differences
from xstilts.evaluate.stats.comparison import planned as planned
from xstilts.evaluate.stats.comparison import planned_difference as planned_difference
from xstilts.evaluate.stats.power import detectable as detectable
from xstilts.evaluate.stats.samples import Measured as Measured
from xstilts.evaluate.stats.samples import Runs as Runs
from xstilts.evaluate.stats.samples import Unit as Unit
from xstilts.evaluate.stats.samples import collect as collect
from xstilts.evaluate.stats.samples import enough_outcomes as enough_outcomes
from xstilts.evaluate.stats.samples import standard_errors as standard_errors
from xstilts.evaluate.stats.significance import cohens_h as cohens_h
from xstilts.evaluate.stats.significance import holm as holm
from xstilts.evaluate.stats.significance import mcnemar as mcnemar
from xstilts.evaluate.stats.significance import sign_test as sign_test
from xstilts.evaluate.stats.significance import standard_deviation as standard_deviation
from xstilts.evaluate.stats.together import Contrast as Contrast
from xstilts.evaluate.stats.verdict import HIGHER as HIGHER
from xstilts.evaluate.stats.verdict import LOWER as LOWER
from xstilts.evaluate.stats.verdict import NOTHING as NOTHING
from xstilts.evaluate.stats.verdict import THESE_RUNS as THESE_RUNS
from xstilts.evaluate.stats.verdict import UNTESTED as UNTESTED
from xstilts.evaluate.stats.verdict import Verdict as Verdict
from xstilts.evaluate.stats.verdict import family as family
from xstilts.evaluate.stats.verdict import family_draws as family_draws
from xstilts.evaluate.stats.verdict import shown_p as shown_p
