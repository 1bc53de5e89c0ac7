"""A few rows of every kind of task, in the files that their readers read."""

from __future__ import annotations

import json
from pathlib import Path

CONTEXT = "the old man runs to the house near the river"


def squad(*answers: str, prefix: str = "q") -> dict:
    qas = [
        {
            "id": f"{prefix}{number}",
            "question": "where does the man run ?",
            "answers": [{"text": a, "answer_start": CONTEXT.index(a)}] if a else [],
            "is_impossible": not a,
        }
        for number, a in enumerate(answers)
    ]
    return {"version": "1.1", "data": [{"paragraphs": [{"context": CONTEXT, "qas": qas}]}]}


def bucc(split: str, count: int) -> dict[str, str]:
    texts = ["a man runs", "nobody is there", "the river", "somebody moves", "where ?", "quickly"]
    sides = {
        code: "".join(f"{code}-{n}\t{texts[n]}\n" for n in range(count)) for code in ("de", "en")
    }
    gold = "".join(f"de-{n}\ten-{n}\n" for n in range(count - 1))
    return {
        f"bucc2018/de-en.{split}.{side}": text for side, text in {**sides, "gold": gold}.items()
    }


def lareqa(language: str) -> dict:
    document = squad("river", "house", prefix="same-")
    document["data"][0]["paragraphs"][0]["sentence_breaks"] = [[0, 16], [16, len(CONTEXT)]]
    return document


def mention(number: int, entity: str, language: str) -> dict:
    return {
        "context": {
            "language": language,
            "text": "a man runs home",
            "sentence_spans": [{"start": 0, "end": 15}],
        },
        "mentions": [
            {
                "example_id": f"m{number}",
                "entity_id": entity,
                "mention_span": {"start": 2, "end": 5, "text": "man"},
            }
        ],
    }


def entity(name: str, text: str) -> dict:
    return {
        "entity_id": name,
        "description": text,
        "description_language": "en",
        "sentence_spans": [{"start": 0, "end": len(text)}],
    }


def lines(*records: dict) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def copa(*labels: int) -> str:
    return lines(
        *(
            {
                "idx": n,
                "premise": "a man runs",
                "question": "cause",
                "choice1": "nobody is there",
                "choice2": "the river",
                "label": label,
            }
            for n, label in enumerate(labels)
        )
    )


TAGGED = "the\tDET\nman\tNOUN\nruns\tVERB\n\nnobody\tPRON\n"
FILES = {
    "sst2/train.tsv": "sentence\tlabel\na man runs\t0\nnobody\t1\n",
    "sst2/dev.tsv": "sentence\tlabel\nthe river\t0\nhome\t1\nold\t1\n",
    "copa_en/train-en.jsonl": copa(0, 1, 0),
    "copa_en/val-en.jsonl": copa(1, 0),
    "xcopa/test.it.jsonl": copa(1, 0, 1),
    "udpos/train-en.tsv": TAGGED,
    "udpos/dev-en.tsv": TAGGED,
    "udpos/test-de.tsv": TAGGED,
    "squad1/train-v1.1.json": json.dumps(squad("river", "house")),
    "squad1/dev-v1.1.json": json.dumps(squad("man")),
    "xquad/xquad.de.json": json.dumps(squad("river", "old man")),
    "squad2/train-v2.0.json": json.dumps(squad("river", "")),
    "squad2/dev-v2.0.json": json.dumps(squad("", "house")),
    "mlm/train-en.txt": "a man runs home\nnobody is there\n",
    "mlm/dev-en.txt": "the old man runs\nsomebody moves quickly\n",
    "mlm/dev-de.txt": "the river\n",
    **bucc("dev", 4),
    **bucc("test", 6),
    "lareqa/xquad-r/de.json": json.dumps(lareqa("de")),
    "lareqa/xquad-r/en.json": json.dumps(lareqa("en")),
    "mewslix/wikinews_mentions-test.jsonl": lines(
        mention(1, "Q1", "de"), mention(2, "Q2", "de"), mention(3, "Q1", "tr")
    ),
    "mewslix/candidate_set_entities.jsonl": lines(
        entity("Q1", "a man"), entity("Q2", "the river"), entity("Q3", "nobody")
    ),
}


def write_files(folder: Path) -> Path:
    """Write them all into `folder`/data; returns `folder`."""
    for name, text in FILES.items():
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder
