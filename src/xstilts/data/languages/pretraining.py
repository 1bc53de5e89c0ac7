"""Which of the table's languages a backbone was pretrained on; `README.md` names the sources."""

from __future__ import annotations

from collections.abc import Mapping

CC100 = "cc100"
"""What XLM-R was pretrained on; its amounts are a column of the table."""

_CODES = {
    "wikipedia104": (
        "af ar az bg bn ceb da de el en es et eu fa fi fr gu he hi hr ht hu id it ja jv ka kk ko "
        "lt min ml mr ms my nl pa pl pt ro ru sk sr su sv sw ta te th tl tr uk ur vi yo zh"
    ),
    "mc4": (
        "af am ar az bg bn ceb da de el en es et eu fa fi fr gu ha he hi ht hu id ig it ja jv ka "
        "kk ko lt ml mr ms my nl pa pl pt ro ru sk sr su sv sw ta te th tl tr uk ur vi yo zh"
    ),
    "roots": "ar bn en es eu fr gu hi id ig lg ml mr pa pt rw sw ta te ur vi wo yo zh",
    "xmod81": (
        "af am ar az bg bn da de el en es et eu fa fi fr gu ha he hi hr hu id it ja ka kk ko lt ml "
        "mr ms my nl pa pl pt ro ru sk sr sv sw ta te th tl tr uk ur vi zh"
    ),
}
CORPORA: Mapping[str, frozenset[str]] = {
    name: frozenset(codes.split()) for name, codes in _CODES.items()
}
"""Corpus to the codes of those of the table's languages that it holds."""
