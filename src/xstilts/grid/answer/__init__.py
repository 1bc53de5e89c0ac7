"""Answers to studies: the verdict that was asked for beforehand, and what stands behind it.

study_results = collect_results(folder.load("scripts"), folder, store)
answer = answered(study_results)
print(answer.line)
write_html(answer_report(answer), Path("answer.html"))
"""

from xstilts.grid.answer.analysis import Comparison, StudyAnswer, answered
from xstilts.grid.answer.report import answer_report, record
from xstilts.grid.answer.study_results import Place, StudyResults, collect_results

__all__ = [
    "Comparison",
    "Place",
    "StudyAnswer",
    "StudyResults",
    "answer_report",
    "answered",
    "collect_results",
    "record",
]
