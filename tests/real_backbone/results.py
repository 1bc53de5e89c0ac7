"""The csv files of docs/results out of a result store, and the tables of both READMEs out of them.

    python tests/real_backbone/results.py export STUDY RESULTS   # its csv files, then the tables
    python tests/real_backbone/results.py rank TARGET JSON ZOO   # of a ranking, then the tables
    python tests/real_backbone/results.py search TARGET RESULTS ZOO MODULE...  # of searched weights
    python tests/real_backbone/results.py tables                 # the tables again

RESULTS is the folder that the study ran with (`--results`), JSON what `xstilts --json rank TARGET`
printed, ZOO the library with the modules that it names, MODULE what `xstilts search --save` kept,
evaluated like the module whose head it has. A table stands in README.md, the front one or that of
docs/results, between `<!-- table: NAME STUDY -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean

from xstilts.composition.expression import Ref, map_references
from xstilts.composition.parser import parse
from xstilts.composition.resolve import pinned_digest
from xstilts.config.load import short_name
from xstilts.evaluate.ranking import METHODS
from xstilts.evaluate.store import ResultStore
from xstilts.files import write_text
from xstilts.grid.spec import StudySpec, load_study
from xstilts.grid.state import GridFolder, read_json
from xstilts.zoo import Zoo

DOCS = Path(__file__).parents[2] / "docs" / "results"
PAGES = (DOCS / "README.md", DOCS.parents[1] / "README.md")
CORE = "x-stilts-core"
ROWS = "x-stilts-mini"
SCORES = ("intermediate", "method", "task", "language", "layer", "seed", "metric", "value", "n")
PROOF = ("split", "backbone", "fingerprint", "digest", "cell", "predictions_sha256", "seconds")
CELLS = ("name", "kind", "status", "seconds")
RANKS = DOCS / "ranks"
RANKED = ("module", "trained on", "steps", "digest", *METHODS, "mean rank", "measured")
SEARCHES = DOCS / "searches"
SEARCHED = ("seed", "language", "value", "head's own", "weights", "start loss", "loss", "digest")
MISSING = "·"

Rows = Sequence[Mapping[str, str]]
Means = Mapping[tuple[str, str], Mapping[str, float]]
"""(row, task) to seed to the mean over languages."""


def study_of(name: str) -> StudySpec:
    """A study of docs/results, or one that comes with xstilts."""
    path = DOCS / "studies" / f"{name}.yaml"
    return load_study(str(path) if path.is_file() else name, sandbox=False)


def columns_of(study: StudySpec) -> list[str]:
    """The tasks that a study has scores of: targets, or bitexts whose alignment it measures."""
    return [short_name(task) for task in (*study.targets, *study.alignment)]


def export(name: str, results: Path, folder: Path) -> None:
    """Write the main scores of a study and what became of each of its cells.

    Of a bitext's alignment that is the measure that the study's answer is about.
    """
    study, grid = study_of(name), GridFolder(results)
    planned = grid.load(name)
    statuses = grid.statuses(planned.cells)
    records = {
        cell.key: read_json(grid.folder(cell.key) / "done.json")
        for cell in planned.cells
        if statuses[cell.key] == "done"
    }
    wanted = {key for record in records.values() for key in record["outcome"].get("cells", [])}
    scores = [
        {**score.model_dump(include={*SCORES, *PROOF}), "seconds": cell.seconds}
        for cell in ResultStore(results).cells()
        if cell.key in wanted
        for score in cell.scores
        if (score.metric == study.answer.measure if score.group else score.main)
    ]
    order = ("backbone", *SCORES[:1], "task", "seed", "layer", "language")
    scores.sort(key=lambda row: [str(row[name]) for name in order])
    write_csv(folder / f"{name}.csv", (*SCORES, *PROOF), scores)
    cells = [
        {
            "name": cell.name,
            "kind": cell.kind,
            "status": statuses[cell.key],
            "seconds": records.get(cell.key, {}).get("seconds", ""),
        }
        for cell in planned.cells
    ]
    write_csv(folder / f"{name}-cells.csv", CELLS, cells)


def export_rank(target: str, record: Path, zoo: Path) -> None:
    """Write the estimates for a target, and what each module was measured to bring."""
    by_digest = {entry.manifest.digest: entry.manifest for entry in Zoo(zoo).entries()}
    rows = []
    for module in json.loads(record.read_text(encoding="utf-8"))["modules"]:
        manifest = by_digest[module["digest"]]
        rows.append(
            {
                "module": manifest.name,
                "trained on": trained_on(manifest.trained_tasks),
                "steps": manifest.training["steps"],
                "digest": manifest.digest,
                **module["estimates"],
                "mean rank": module["mean_rank"],
                "measured": module["known"],
            }
        )
    write_csv(RANKS / f"{target}.csv", RANKED, rows)


def trained_on(tasks: Sequence[str]) -> str:
    """A module's task, or how many it has."""
    return f"{len(tasks)} tasks" if len(tasks) > 1 else tasks[0]


def export_search(target: str, results: Path, zoo: Path, modules: Sequence[str]) -> None:
    """Write what found weights bring to a target, by language, and what the head brings alone."""
    library = Zoo(zoo)
    names = {f"@{entry.manifest.digest}": entry.manifest.name for entry in library.entries()}
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for cell in ResultStore(results).cells():
        for score in cell.scores:
            if score.task == target and score.main and score.split == "test":
                values[score.digest][score.language] = score.value
    rows = []
    for reference in modules:
        entry = library.find(reference)
        made, head = entry.manifest, library.find("@" + entry.manifest.training["head"])
        own, alone = (values[pinned_digest(Ref("it"), {"it": each})] for each in (entry, head))
        rows += [
            {
                "seed": made.seed,
                "language": language,
                "value": own[language],
                "head's own": alone[language],
                "weights": map_references(parse(made.composition), names.__getitem__),
                "start loss": made.training["start_loss"],
                "loss": made.training["loss"],
                "digest": made.digest,
            }
            for language in sorted(own)
        ]
    write_csv(SEARCHES / f"{target}.csv", SEARCHED, rows)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a csv file, as text."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    table = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in table)


def languages_of(task: str, scores: Rows) -> set[str]:
    """The languages that any row has of a task: what a whole cell of the table is a mean over."""
    return {row["language"] for row in scores if row["task"] == task}


def task_means(scores: Rows) -> dict[tuple[str, str], dict[str, float]]:
    """(row, task) to seed to the mean over languages, at the deepest block.

    The language that a head was trained on counts too. A mean of which a language is missing is
    left out.
    """
    deepest = max((int(row["layer"]) for row in scores), default=-1)
    values: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    for row in scores:
        if int(row["layer"]) in (-1, deepest):
            key = (row["intermediate"], row["task"], row["seed"])
            values[key][row["language"]] = float(row["value"])
    means: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for (name, task, seed), by_language in values.items():
        if by_language.keys() == languages_of(task, scores):
            means[name, task][seed] = mean(by_language.values())
    return means


def of_backbones(scores: Rows) -> dict[str, Rows]:
    """What stands before a row's name in a table to the scores behind it: nothing for one backbone.

    Of several it is the backbone's name, in alphabetic order.
    """
    names = sorted({row["backbone"] for row in scores})
    if len(names) < 2:
        return {"": scores}
    return {f"{name}, ": [row for row in scores if row["backbone"] == name] for name in names}


def table_by_row(
    scores: Rows, study: StudySpec, head: str, shown: Callable[[Means, str, str], str]
) -> str:
    """A line for each row of a study, on each backbone: what `shown` makes of it on each task.

    A row for which it makes nothing at all has no line.
    """
    tasks, lines = columns_of(study), []
    for start, own in of_backbones(scores).items():
        means = task_means(own)
        for row in study.intermediates:
            line = [shown(means, row.name, task) for task in tasks]
            if any(line):
                lines.append([start + row.name, *line])
    return markdown([head, *tasks], lines)


def table_of_means(scores: Rows, cells: Rows, study: StudySpec) -> str:
    """Each row on each target: mean over languages, then over seeds, and how many those are."""
    del cells

    def shown(means: Means, row: str, task: str) -> str:
        by_seed = means.get((row, task), {})
        several = f" ({len(by_seed)})" if set(by_seed) - {"-1"} else ""
        return f"{mean(by_seed.values()):.1f}{several}" if by_seed else MISSING

    return table_by_row(scores, study, "row", shown)


def table_of_differences(scores: Rows, cells: Rows, study: StudySpec) -> str:
    """Each row minus none: mean over languages and seeds."""
    del cells

    def shown(means: Means, row: str, task: str) -> str:
        if row == "none":
            return ""
        pairs = paired(means.get((row, task), {}), means.get(("none", task), {}))
        return f"{mean(a - b for a, b in pairs):+.1f}" if pairs else MISSING

    return table_by_row(scores, study, "row minus none", shown)


def paired(ours: Mapping[str, float], theirs: Mapping[str, float]) -> list[tuple[float, float]]:
    """Means of the same seed; what is not trained, seed -1, goes with every seed."""
    untrained = theirs.get("-1")
    found = [(value, theirs.get(seed, untrained)) for seed, value in ours.items()]
    return [(value, other) for value, other in found if other is not None]


def table_of_work(scores: Rows, cells: Rows, study: StudySpec) -> str:
    """What was planned, what is done, and the hours of one worker that it took."""
    lines = []
    for kind in ("train", "evaluate"):
        own = [cell for cell in cells if cell["kind"] == kind]
        done = [cell for cell in own if cell["status"] == "done"]
        hours = sum(float(cell["seconds"]) for cell in done) / 3600
        lines.append([kind, str(len(own)), str(len(done)), f"{hours:.2f}"])
    return markdown(["cells", "planned", "done", "hours"], lines)


def table_of_rank(rows: Rows) -> str:
    """Every module in the order of its mean rank, and the order of what was measured."""
    measured = sorted((float(row["measured"]) for row in rows if row["measured"]), reverse=True)
    lines = []
    for row in rows:
        estimates = [f"{float(row[method]):.4f}" if row[method] else MISSING for method in METHODS]
        found = (MISSING, MISSING)
        if row["measured"]:
            value = float(row["measured"])
            found = (f"{value:.1f}", str(1 + measured.index(value)))
        ranks = [f"{float(row['mean rank']):.1f}", *found]
        lines.append([row["module"], row["trained on"], row["steps"], *estimates, *ranks])
    head = ("module", "trained on", "steps", *METHODS, "mean rank", "measured", "its place")
    return markdown(head, lines)


def table_of_search(rows: Rows) -> str:
    """Each seed's weights, their loss, and means over languages with them and without."""
    lines = []
    for seed in sorted({row["seed"] for row in rows}):
        own = [row for row in rows if row["seed"] == seed]
        losses = [f"{float(own[0][key]):.3f}" for key in ("start loss", "loss")]
        means = [mean(float(row[key]) for row in own) for key in ("value", "head's own")]
        numbers = [*(f"{value:.1f}" for value in means), f"{means[0] - means[1]:+.1f}"]
        lines.append([seed, f"`{own[0]['weights']}`", *losses, *numbers])
    head = ("seed", "weights", "loss as written", "loss", "mean", "the head's own", "difference")
    return markdown(head, lines)


TABLES = {"means": table_of_means, "differences": table_of_differences, "work": table_of_work}
"""Of a study."""
TARGET_TABLES = {"rank": (RANKS, table_of_rank), "search": (SEARCHES, table_of_search)}
"""Of a target: the folder of its csv file, and what makes the table."""


def filled(text: str, folder: Path) -> str:
    """The text of a page with each of its tables computed from the csv files beside it."""

    def table(found: re.Match[str]) -> str:
        kind, name = found[1], found[2]
        if kind in TARGET_TABLES:
            where, made_of = TARGET_TABLES[kind]
            made = made_of(read_csv(folder / where.name / f"{name}.csv"))
        else:
            scores, cells = (read_csv(folder / f"{name}{end}.csv") for end in ("", "-cells"))
            made = TABLES[kind](scores, cells, study_of(name))
        return f"<!-- table: {kind} {name} -->\n\n{made}\n\n<!-- end -->"

    marked = r"<!-- table: (\w+) ([\w-]+) -->\n.*?<!-- end -->"
    return re.sub(marked, table, text, flags=re.DOTALL)


def main(arguments: Sequence[str]) -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    writing = verbs.add_parser("export")
    writing.add_argument("study")
    writing.add_argument("results", type=Path)
    ranking = verbs.add_parser("rank")
    ranking.add_argument("target")
    ranking.add_argument("record", type=Path)
    ranking.add_argument("zoo", type=Path)
    searching = verbs.add_parser("search")
    searching.add_argument("target")
    searching.add_argument("results", type=Path)
    searching.add_argument("zoo", type=Path)
    searching.add_argument("modules", nargs="+")
    verbs.add_parser("tables")
    options = parser.parse_args(arguments)
    if options.verb == "export":
        export(options.study, options.results, DOCS)
    if options.verb == "rank":
        export_rank(options.target, options.record, options.zoo)
    if options.verb == "search":
        export_search(options.target, options.results, options.zoo, options.modules)
    for page in PAGES:
        write_text(page, filled(page.read_text(encoding="utf-8"), DOCS))


if __name__ == "__main__":
    main(sys.argv[1:])
