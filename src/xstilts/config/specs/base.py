"""What every value has that a config turns into."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Spec(BaseModel):
    """A frozen config value that refuses unknown keys, and NaN and infinity where a number is."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False, defer_build=True
    )


def _distinct(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise PydanticCustomError("seeds", "each seed may stand once: two equal runs are one")
    return seeds


Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""Where random numbers start; torch's generators take no more bits."""
Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]
"""One run each."""
