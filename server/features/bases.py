"""LoRAs that were taught on other weights than those that drew: said in the recipe, from where tools repeat it.

Owns the comparison of two hashes. Knows nothing of tools, and nothing of LoRAs whose file does not say what they were
taught on.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pipelines.errors import AdapterError

if TYPE_CHECKING:
    from pipelines.records import Recipe
    from server.studio import Studio

OPTION = "warnings"
"""Where they stand in a recipe's options."""


def noted(studio: Studio, recipe: Recipe) -> Recipe:
    """The settled recipe of something that was drawn, with a warning for each LoRA of another base."""
    warnings = []
    for lora in recipe.loras if recipe.revision else ():
        with suppress(AdapterError):  # it was there when it was drawn
            info = studio.loras.find(lora.name)
            if info.base_hash and info.base_hash != recipe.revision:
                warnings.append(
                    f"The LoRA '{lora.name}' was taught on other weights ({info.base or 'model'} {info.base_hash[:8]}) "
                    f"than those that drew ({recipe.model} {recipe.revision[:8]}): its style may be weak or wrong. "
                    f"Teach it again with train_lora, or draw with the model that it was taught on."
                )
    options = {name: value for name, value in recipe.options.items() if name != OPTION}
    return replace(recipe, options=options | ({OPTION: warnings} if warnings else {}))


def warnings_of(*recipes: Recipe) -> list[str]:
    """What `noted` found, each sentence once."""
    return list(dict.fromkeys(text for recipe in recipes for text in recipe.options.get(OPTION, ())))
