"""The smallest files of every reader's layout, and damage that no reader may accept."""

from __future__ import annotations

import gzip
import json

QA = {"id": "1", "question": "Wer läuft?", "answers": [{"text": "Hund", "answer_start": 4}]}
SQUAD = json.dumps(
    {"data": [{"paragraphs": [{"context": "Ein Hund läuft.", "qas": [QA, {**QA, "id": "2"}]}]}]},
    ensure_ascii=False,
)
LAREQA = SQUAD.replace('"qas"', '"sentence_breaks": [[0, 15]], "qas"')
CONLLU = "".join(f"{n}\tsé\tsé\tNOUN\t_\t_\t{n - 1}\tx\t_\t_\n" for n in (1, 2)) + "\n"
SPAN = {"start": 0, "end": 8}
MENTION = {"example_id": "m1", "entity_id": "Q1", "mention_span": {**SPAN, "text": "Ein Hund"}}
MENTIONS = json.dumps(
    {
        "context": {"language": "de", "text": "Ein Hund läuft.", "sentence_spans": [SPAN]},
        "mentions": [MENTION],
    },
    ensure_ascii=False,
)
ENTITY = json.dumps(
    {
        "entity_id": "Q1",
        "description": "Tier mit Fell",
        "description_language": "de",
        "sentence_spans": [SPAN],
    }
)
ARTICLES = "".join(f'<article number="{n}"><para>Alle Menschen é</para></article>\n' for n in "12")
ROWS = "".join(f'{{"premise": "a é", "hypothesis": "b{n}", "label": "e"}}\n' for n in range(3))
COSMOS = "id,context,question,answer0,answer1,answer2,answer3,label\n" + "".join(
    f'i{n},"a é, b",q,a,b,c,d,{n}\n' for n in range(3)
)

GOOD = {
    "tsv": ("xnli", "test", "de", {"xnli/test-de.tsv": "ä b\tc\tneutral\nd\te f\tneutral\n"}),
    "csv": ("cosmosqa", "validation", "en", {"cosmosqa/valid.csv": COSMOS}),
    "jsonl": ("indonli", "validation", "id", {"indonli/val.jsonl": ROWS}),
    "conll": ("panx", "test", "de", {"panx/test-de.tsv": "Köln\tB-LOC\nist\tO\n\nBonn\tB-LOC\n"}),
    "conllu": ("ud", "test", "de", {"ud/UD_German-X/de_x-ud-test.conllu": CONLLU * 2}),
    "squad": ("xquad", "test", "de", {"xquad/xquad.de.json": SQUAD}),
    "ccg": ("ccg", "train", "en", {"ccg/train.ccg": "Köln|N is|(S\\NP)/NP\nWe|NP go|S\\NP\n"}),
    "lines": ("mlm", "train", "de", {"mlm/de.txt": "Ein é Satz\nNoch einer\nEnde gut\n"}),
    "bitext": (
        "tatoeba", "test", "de",
        {
            "tatoeba/tatoeba.deu-eng.deu": "ja é\nnein\n",
            "tatoeba/tatoeba.deu-eng.eng": "yes\nno é\n",
        },
    ),
    "bucc": (
        "bucc2018", "validation", "de",
        {
            "bucc2018/de-en.dev.de": "de-1\teins é\nde-2\tzwei\n",
            "bucc2018/de-en.dev.en": "en-1\tone\nen-2\ttwo\n",
            "bucc2018/de-en.dev.gold": "de-1\ten-1\n",
        },
    ),
    "udhr": (
        "udhr", "test", "fr",
        {f"udhr/udhr_{code}.xml": f"<udhr>\n{ARTICLES}</udhr>\n" for code in ("fra", "eng")},
    ),
    "qasrl": (
        "qasrl", "train", "en",
        {
            "qasrl_gs/gold/wikinews.dev.gold.csv":
                "qasrl_id,verb_idx,question,is_redundant,answer_range\ns1,1,Who é?,False,0:1\n",
            "qasrl_gs/sentences/wikinews.dev.full.csv": "qasrl_id,tokens\ns1,Dogs run é\n",
        },
    ),
    "blocks": (
        "pros_cons", "train", "en",
        {
            "pros_cons/IntegratedPros.first10000.txt": "<Pros>gut é</Pros>\n<Pros>b</Pros>\n",
            "pros_cons/IntegratedCons.first10000.txt": "\t<Cons>c é</Cons>\n",
        },
    ),
    "xsid": (
        "xsid_slots", "train", "da",
        {
            "xsid/mt.train.da/sys_text.da": "vis én\nnej\n",
            "xsid/mt.train.da/sys_label.da": "O B-datetime weather/find\nO weather/find\n",
        },
    ),
    "lareqa": ("lareqa", "test", "de", {"lareqa/xquad-r/de.json": LAREQA}),
    "mewslix": (
        "mewslix", "test", "de",
        {
            "mewslix/wikinews_mentions-test.jsonl": MENTIONS + "\n",
            "mewslix/candidate_set_entities.jsonl": ENTITY + "\n",
        },
    ),
}  # fmt: skip

XSID = "# text = {0}\n# intent = weather/find\n1\té\tweather/find\tO\n2\tb\tweather/find\tO\n\n"
GOOD["xsid: CoNLL"] = (
    "xsid_intent", "test", "da", {"xsid/da.test.conll": XSID.format("é b") + XSID.format("c d")}
)  # fmt: skip
EMPTY = SQUAD.replace('"Hund"', '""').replace("4}", "0}")
GOOD |= {
    "labels apart: lines": (
        "xnli", "test", "de",
        {
            "xnli/test-de.tsv": "ä b\tc\nd\te f\n",
            "labels/xnli/test-de.tsv": "neutral\nentailment\n",
        },
    ),
    "labels apart: tags": (
        "panx", "test", "de",
        {
            "panx/test-de.tsv": "Köln\nist\n\nBonn\n",
            "labels/panx/test-de.tsv": "B-LOC\nO\n\nB-LOC\n",
        },
    ),
    "labels apart: answers": (
        "xquad", "test", "de",
        {"xquad/xquad.de.json": EMPTY, "labels/xquad/test-de.json": SQUAD},
    ),
    "labels apart: order": (
        "tatoeba", "test", "de",
        {
            "tatoeba/de-en.de": "ja é\nnein\n",
            "tatoeba/de-en.en": "no\nyes é\n",
            "labels/tatoeba/test-de.tsv": "1\n0\n",
        },
    ),
    "labels apart: pairs": (
        "bucc2018", "test", "de",
        {
            "bucc2018/de-en.test.de": "de-1\teins é\nde-2\tzwei\n",
            "bucc2018/de-en.test.en": "en-1\tone\nen-2\ttwo\n",
            "labels/bucc2018/test-de.tsv": "de-1\ten-1\n",
        },
    ),
}  # fmt: skip
"""Test files without labels, and their labels."""

REFUSED = {
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "mixed encodings": lambda data: data + "é\n".encode("latin-1"),
    "web page": lambda data: b"<!DOCTYPE html>\n<html>404</html>\n",
    "web page, lower case": lambda data: b"\n <html><head></head></html>",
    "nothing": lambda data: b"",
    "blank lines": lambda data: b"\n\n",
    "NUL": lambda data: data + b"\0\n",
    "gzip": gzip.compress,
    "Git LFS pointer": lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
}
"""Damage that no reader may accept."""
