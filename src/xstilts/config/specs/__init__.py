"""The values that configs turn into: frozen, typed, unknown keys refused.

YAML scalars arrive as text and are read through the field types, so `1e-4` is a number and `no` is
Norwegian.
"""

from xstilts.config.specs.base import Seed, Seeds, Spec
from xstilts.config.specs.modules import BackboneIdentity, BackboneSpec, MethodSpec
from xstilts.config.specs.recipes import IntermediateSpec, RecipeSpec, SectionSpec
from xstilts.config.specs.tasks import HubSource, SourceSpec, SuiteSpec, TaskSpec
from xstilts.config.specs.training import MixSpec, MixtureSpec, TrainSpec

__all__ = [
    "BackboneIdentity",
    "BackboneSpec",
    "HubSource",
    "IntermediateSpec",
    "MethodSpec",
    "MixSpec",
    "MixtureSpec",
    "RecipeSpec",
    "SectionSpec",
    "Seed",
    "Seeds",
    "SourceSpec",
    "Spec",
    "SuiteSpec",
    "TaskSpec",
    "TrainSpec",
]
