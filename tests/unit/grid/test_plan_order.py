"""The order of a study's cells: seed by seed, column by column, each phase where it is needed."""

from __future__ import annotations

from xstilts.config.specs import IntermediateSpec, RecipeSpec
from xstilts.grid.plan import by_target
from xstilts.train.recipe_graph import Evaluated, Graph, Node


def node(name, *below):
    return Node(name, "intermediate", "task", below, name, {})


def test_a_column_is_whole_before_the_next_begins():
    recipe = RecipeSpec(
        name="r",
        intermediates=[IntermediateSpec(name="none"), IntermediateSpec(name="mnli")],
        targets=["tatoeba", "xcopa"],
        seeds=[7, 3],
    )
    nodes, evaluated = [], []
    for seed in recipe.seeds:
        rows = {"none": (), "mnli": (f"mnli/{seed}",)}
        nodes.append(node(f"mnli/{seed}"))
        for row, own in rows.items():
            head = f"copa/{row}/{seed}"
            nodes.append(node(head, *own))
            evaluated.append(Evaluated(row, "tatoeba", own, seed=seed))
            evaluated.append(Evaluated(row, "xcopa", (*own, head), seed=seed))
    nodes.append(node("needed by nothing"))
    ordered = by_target(Graph(nodes, evaluated), recipe)
    told = [s.id if isinstance(s, Node) else f"{s.label} {s.task}" for s in ordered]
    of_seed = [
        "none tatoeba",
        "mnli/{}",
        "mnli tatoeba",
        "copa/none/{}",
        "none xcopa",
        "copa/mnli/{}",
        "mnli xcopa",
    ]
    expected = [text.format(seed) for seed in (7, 3) for text in of_seed]
    assert told == [*expected, "needed by nothing"]
