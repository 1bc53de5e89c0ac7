"""Answers to studies: the verdict that was asked for beforehand, and what stands behind it.

evidence = gather(folder.load("scripts"), folder, store)
answer = answered(evidence)
print(answer.line)
write_html(sheet(answer), Path("answer.html"))
"""

from xstilts.grid.answer.evidence import Evidence, Place, gather
from xstilts.grid.answer.reading import Answer, Judged, answered
from xstilts.grid.answer.sheet import record, sheet

__all__ = [
    "Answer",
    "Evidence",
    "Judged",
    "Place",
    "answered",
    "gather",
    "record",
    "sheet",
]
