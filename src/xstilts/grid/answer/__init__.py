"""Answers to studies: the verdict that was asked for beforehand, and what stands behind it.

study_results = collect_results(folder.load("scripts"), folder, store)
answer = answered(study_results)
print(answer.line)
write_html(answer_report(answer), Path("answer.html"))
"""

from xstilts.grid.answer.analysis import Comparison as Comparison
from xstilts.grid.answer.analysis import StudyAnswer as StudyAnswer
from xstilts.grid.answer.analysis import answered as answered
from xstilts.grid.answer.report import answer_report as answer_report
from xstilts.grid.answer.report import record as record
from xstilts.grid.answer.study_results import Place as Place
from xstilts.grid.answer.study_results import StudyResults as StudyResults
from xstilts.grid.answer.study_results import collect_results as collect_results
