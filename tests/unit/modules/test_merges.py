from __future__ import annotations

import pytest
import torch
from support.models import changed, randomise, tiny_backbone
from torch import Generator, nn

from xstilts.composition.compose import check, compose, merge
from xstilts.composition.parser import parse
from xstilts.errors import UsageError
from xstilts.modules.merging import trim
from xstilts.modules.methods import METHODS
from xstilts.modules.nodes import TwoLayers
from xstilts.modules.operators import PartInfo, _updates
from xstilts.modules.operators.fuse import FusedSublayer, FusionAttention
from xstilts.modules.weights import ModuleWeights


@pytest.fixture(scope="module")
def backbone():
    return tiny_backbone()


def merged(backbone, text, **modules):
    return merge(parse(text), modules, backbone.shape, Generator().manual_seed(0))


def updates(adapter):
    return {key: part.weight_update().detach() for key, part in adapter.at.items()}


def stacked(seed=0):
    return torch.randn(3, 6, 5, generator=Generator().manual_seed(seed))


WEIGHTS = (0.7, -0.4, 1.0)


@pytest.mark.filterwarnings("ignore:The density")
@pytest.mark.parametrize("density", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("sign", ["total", "frequency"])
def test_ties_is_that_of_peft(density, sign):
    merge_utils = pytest.importorskip("peft.utils.merge_utils")
    tensors = stacked()
    theirs = merge_utils.ties(list(tensors), torch.tensor(WEIGHTS), density, sign)
    ours = _updates.elect(trim(tensors, density), WEIGHTS, sign)
    assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The density")
def test_dare_keeps_the_mean_and_divides():
    merge_utils = pytest.importorskip("peft.utils.merge_utils")
    tensors = torch.ones(2, 200, 200)
    kept = _updates.drop(tensors, 0.3, Generator().manual_seed(0))
    assert set(kept.unique().tolist()) == {0.0, torch.tensor(1 / 0.3).item()}
    # 80,000 draws: the standard error of the mean is sqrt(0.7 / 0.3 / 80000) = 0.0054
    assert abs(float(kept.mean()) - 1) < 0.0162
    whole = _updates.drop(stacked(), 1.0, Generator())
    theirs = merge_utils.dare_ties(list(stacked()), torch.tensor(WEIGHTS), 1.0)
    assert torch.allclose(_updates.elect(whole, WEIGHTS, "total"), theirs, atol=1e-6)


def test_average_of_lora_is_the_mean_of_the_updates(backbone):
    parts = {"a": changed(backbone, "lora", 1), "b": changed(backbone, "lora", 2, rank=4)}
    for text in (
        "average(a, b)",
        "average(a*0.5, b*0.5)",
        "merge_cat(a*0.5, b*0.5)",
        "a*0.5+b*0.5",
    ):
        made = updates(merged(backbone, text, **parts))
        for key, value in made.items():
            mean = (parts["a"].at[key].weight_update() + parts["b"].at[key].weight_update()) / 2
            assert torch.allclose(value, mean, atol=1e-6), text


def test_a_cut_merge_is_the_best_of_its_rank_and_says_its_error(backbone):
    parts = {"a": changed(backbone, "lora", 1), "b": changed(backbone, "lora", 2)}
    exact = updates(merged(backbone, "a - b", **parts))
    cut = merged(backbone, "merge_svd(a, b*-1, rank=3)", **parts)
    squared = whole = 0.0
    for key, value in updates(cut).items():
        values = torch.linalg.svdvals(exact[key].double())
        # Eckart and Young: what is lost is the tail of the singular values
        assert float((value - exact[key]).pow(2).sum()) == pytest.approx(
            float(values[3:].pow(2).sum()), rel=1e-4
        )
        assert len(cut.at[key].A) == 3
        squared += float(values[3:].pow(2).sum())
        whole += float(values.pow(2).sum())
    assert cut.error == pytest.approx((squared / whole) ** 0.5, rel=1e-4)
    assert merged(backbone, "merge_linear(a, b*-1)", **parts).error == pytest.approx(0, abs=1e-5)


def test_full_encoders_are_merged_as_differences(backbone):
    base = {"w": torch.tensor([1.0, 2.0, 3.0])}

    def full(change):
        made = ModuleWeights("full", METHODS.get("full").Options(), {}, {"w": base["w"] + change})
        made.base = base
        return made

    parts = {"a": full(torch.tensor([1.0, 0.0, -2.0])), "b": full(torch.tensor([3.0, 0.0, 1.0]))}
    # base + 1*(1, 0, -2) + 0.5*(3, 0, 1)
    got = merged(backbone, "a + b*0.5", **parts).encoder_weights["w"]
    assert got.tolist() == [3.5, 2.0, 1.5]
    got = merged(backbone, "average(a, b)", **parts).encoder_weights["w"]
    assert got.tolist() == [3.0, 2.0, 2.5]
    # signs by the sum: +, (0 counts as +), -: the first agrees twice, the last once
    got = merged(backbone, "merge_ties(a, b, density=1.0)", **parts).encoder_weights["w"]
    assert got.tolist() == [3.0, 2.0, 1.0]


@pytest.mark.parametrize("preset", ["seq_bn", "par_bn"])
def test_the_batched_fusion_equals_part_by_part(preset, backbone):
    factors = (4.0, 2.0, 8.0)
    parts = [
        changed(backbone, preset, seed, reduction_factor=factor, scaling=0.5 + seed)
        for seed, factor in enumerate(factors)
    ]
    own = FusionAttention(16, 0.1, value=True, generator=Generator().manual_seed(3))
    randomise(own, 5, 0.3)
    fused = FusedSublayer(own, [part.at["1_ffn"] for part in parts]).eval()
    norm = torch.nn.LayerNorm(16)
    randomise(norm, 4)
    hidden, residual = (torch.randn(2, 3, 16, generator=Generator().manual_seed(n)) for n in (1, 2))
    inputs = (hidden.requires_grad_(True), residual.requires_grad_(True))
    quick = fused(hidden, residual, norm)
    quick.pow(2).sum().backward()
    wanted = [*own.parameters(), *(inputs if preset == "seq_bn" else inputs[1:])]
    grads = [tensor.grad.clone() for tensor in wanted]
    for tensor in wanted:
        tensor.grad = None
    fused._alike = lambda: False
    slow = fused(hidden, residual, norm)
    slow.pow(2).sum().backward()
    assert torch.allclose(quick, slow, atol=1e-5)
    for ours, tensor in zip(grads, wanted, strict=True):
        assert torch.allclose(ours, tensor.grad, atol=1e-4, rtol=1e-4)


class Squeezed(nn.Module):
    """A node of somebody else's method that says that it is two layers."""

    def __init__(self, seed):
        super().__init__()
        self.down, self.up = nn.Linear(16, 3 + seed), nn.Linear(3 + seed, 16)
        randomise(self, seed, 0.3)

    def two_layers(self):
        return TwoLayers("hidden", self.down, nn.Tanh(), self.up, 0.5)

    def forward(self, hidden, residual, norm):
        return self.up(torch.tanh(self.down(hidden))) * 0.5


def test_another_methods_nodes_are_fused_together_as_well(monkeypatch):
    own = FusionAttention(16, 0.0, value=False, generator=Generator().manual_seed(3))
    fused = FusedSublayer(own, [Squeezed(1), Squeezed(2)])
    fused.query_reads = "hidden"
    hidden = torch.randn(2, 3, 16, generator=Generator().manual_seed(1))
    slow = own(hidden, torch.stack([part(hidden, None, None) for part in fused.parts], dim=2))
    monkeypatch.setattr(Squeezed, "forward", None)  # the parts are not run one by one
    assert torch.allclose(fused(hidden, hidden, None), slow, atol=1e-6)


def test_the_penalty_is_the_distance_of_the_value_matrix():
    from xstilts.composition.compose import ComposedModules
    from xstilts.composition.task_model import TaskModel

    own = FusionAttention(4, 0.0, value=True, generator=Generator(), regularisation=0.01)
    with torch.no_grad():
        own.value.weight.copy_(torch.eye(4) + 0.5)
    model = TaskModel(
        tiny_backbone(), ComposedModules({"0_ffn": FusedSublayer(own, [own])}, {}), {}
    )
    # sixteen times 0.5 squared
    assert model.penalty().item() == pytest.approx(0.04)
    own.requires_grad_(False)
    assert model.penalty().item() == 0.0


A = PartInfo("a", "bottleneck", {"reduction_factor": 16}, True)
B = PartInfo("b", "bottleneck", {"reduction_factor": 8}, True)
L = PartInfo("l", "lora", {"rank": 8}, True)
F = PartInfo("f", "full", {}, True)
C = PartInfo("c", "", {}, False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("average(a, l)", "of method lora"),
        ("average(a, b)", "different options"),
        ("merge_svd(a, a)", "takes LoRA"),
        ("merge_ties(c, l)", "not one module"),
        ("fuse(f, a)", "replaces the encoder"),
        ("stack(a, f)", "only come first"),
        ("average(a, a*0)", "weight 0"),
        ("average(a, none)", "stands alone"),
        ("merge_ties(l, l, dens=0.5)", "Did you mean 'density'"),
        ("merge_svd(l, l, rank=2.5)", "a whole number"),
        ("merge_ties(l, l, sign=3)", "a word"),
        ("merge_ties(l, l, sign=totals)", "'total' or 'frequency'"),
        ("merge_ties(l, l, density=0)", "a larger number"),
        ("merge_dare_ties(l, l, density=1.5)", "a smaller number"),
        ("fuse(a, b, size=true)", "a whole number"),
        ("stack(l, fuse(a, b)*0.5)", "cannot have a weight"),
        ("fuse(stack(l, a)*0.5, b)", "cannot have a weight"),
        ("stack(l, c*0.5)", "cannot have a weight"),
        ("average_factors(average(l, l), l)", "different options"),
        ("average_factors(l, merge_svd(l, l))", "different options"),
    ],
)
def test_what_makes_no_sense_is_refused_without_weights(text, words):
    with pytest.raises(UsageError, match=words):
        check(parse(text), {"a": A, "b": B, "l": L, "f": F, "c": C})


def test_the_mean_of_factors_is_not_the_mean_of_updates(backbone):
    modules = {"a": changed(backbone, "lora", 1), "b": changed(backbone, "lora", 2)}
    made = merged(backbone, "average_factors(a*0.25, b*0.75)", **modules)
    for key, update in updates(made).items():
        one, two = (modules[name].at[key] for name in "ab")
        down, up = (0.25 * getattr(one, f) + 0.75 * getattr(two, f) for f in "AB")
        torch.testing.assert_close(update, up @ down * one.scaling)
        exact = 0.25 * one.weight_update() + 0.75 * two.weight_update()
        assert not torch.allclose(update, exact, rtol=0.1)


def test_factors_of_unequal_ranks_have_no_mean():
    parts = [
        PartInfo(name, "lora", {"rank": rank}, merged=True) for name, rank in (("a", 4), ("b", 8))
    ]
    with pytest.raises(UsageError, match="different options"):
        check(parse("average_factors(a, b)"), {part.name: part for part in parts})


@pytest.mark.parametrize(
    "text",
    [
        "average_factors(average(a, b), average(b, a))",
        "average_factors(average_factors(a, b), b)",
        "stack(a, (a + b)*0.5)",
        "fuse(a*0.5, average(a, b)*2)",
    ],
)
def test_merges_that_fit_are_taken(text, backbone):
    modules = {name: changed(backbone, "lora", seed) for seed, name in enumerate("ab")}
    infos = {
        name: PartInfo(name, "lora", module.options.model_dump(), merged=True)
        for name, module in modules.items()
    }
    check(parse(text), infos)
    assert compose(parse(text), modules, backbone.shape, Generator().manual_seed(0)).nodes
