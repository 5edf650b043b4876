"""Warn of LoRAs that were trained on other weights than those that draw.

`record_bases` compares the hash in a LoRA's file with the revision of the model that drew. Files that do not name the
weights that they were trained on are skipped.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pipelines.errors import AdapterError

if TYPE_CHECKING:
    from pipelines.records import Recipe
    from server.studio import Studio

BASES = "lora_bases"
"""The recipe option: LoRA name -> hash of the weights that it was trained on, where those did not draw."""
STORED = "warnings"
"""The option in which versions before 2026-11-30 stored whole sentences. They are still shown."""


def record_bases(studio: Studio, recipe: Recipe) -> Recipe:
    """Adds `lora_bases` to the options of a recipe that was just drawn, where a LoRA has another base."""
    bases: dict[str, str] = {}
    for lora in recipe.loras if recipe.revision else ():
        with suppress(AdapterError):  # it was there when it was drawn
            base = studio.loras.find(lora.name).base_hash
            if base and base != recipe.revision:
                bases[lora.name] = base
    options = {name: value for name, value in recipe.options.items() if name not in (BASES, STORED)}
    return replace(recipe, options=options | ({BASES: bases} if bases else {}))


def base_warnings(*recipes: Recipe) -> list[str]:
    """Returns a sentence for each LoRA that `record_bases` found in the recipes, without repetitions."""
    sentences = [sentence for recipe in recipes for sentence in recipe.options.get(STORED, ())]
    for recipe in recipes:
        for name, base in recipe.options.get(BASES, {}).items():
            sentences.append(
                f"The LoRA '{name}' was trained on other weights ({base[:8]}) than the model that drew "
                f"({recipe.model} {recipe.revision[:8]}), so its style may be weak or wrong. Train it again with "
                "train_lora, or draw with the model that it was trained on."
            )
    return list(dict.fromkeys(sentences))
