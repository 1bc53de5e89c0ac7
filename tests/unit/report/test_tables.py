from __future__ import annotations

from xstilts.config.tabular import View
from xstilts.report.tables import transposed


def test_transposed():
    view = View("t", ("expression", "de", "en"), (("none", 1.0, 2.0), ("mnli", 3.0, 4.0)))
    turned = transposed(view)
    assert turned == View("t", ("expression", "none", "mnli"), (("de", 1.0, 3.0), ("en", 2.0, 4.0)))
