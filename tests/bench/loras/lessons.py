"""What is taught in the proof: for each style 40 sprites with words, and other sprites of it to measure against.

Two styles are made by a rule from sprites that were held back from the embedded model's training; one is a real
artist's. The split depends on the sprites alone, not on a model or a distance.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from pipelines.records import Pixels
from tests.bench.loras.real import real_sprites
from tests.bench.loras.styles import STYLES

if TYPE_CHECKING:
    from pipelines.embedded.training.data import Sprite

TRAINED, FEWEST = 40, 20
"""Sprites that are taught, and the least number of others in the style."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """One style: `taught` (picture, words), `reference` other pictures in it, `plain` as many that are not in it.

    `prompts` are drawn to be measured: things that the reference shows. `real`: a person's style, no rule's.
    """

    style: str
    taught: tuple[tuple[Pixels, str], ...]
    reference: tuple[Pixels, ...]
    plain: tuple[Pixels, ...]
    prompts: tuple[str, ...]
    real: bool = False

    @property
    def pictures(self) -> tuple[Pixels, ...]:
        """What is taught, without the words."""
        return tuple(image for image, _ in self.taught)

    def write(self, folder: Path) -> None:
        """The taught sprites as an imagefolder with metadata.jsonl; nothing where it is there already."""
        if (folder / "metadata.jsonl").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for number, (image, words) in enumerate(self.taught):
            name = f"{number:03d}.png"
            Image.fromarray(image).save(folder / name)
            lines.append(json.dumps({"file_name": name, "text": words}))
        (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def held_back(sprites: Sequence[Sprite]) -> list[Sprite]:
    """Those the embedded model was not trained on: 32 px, with a tenth to nine tenths of clear ground."""

    def fits(sprite: Sprite) -> bool:
        clear = float((sprite.image[..., 3] == 0).mean())
        return sprite.held_out and sprite.native == 32 and 0.1 <= clear < 0.9

    return [sprite for sprite in sprites if fits(sprite)]


def lessons(sprites: Sequence[Sprite], real: Sequence[Path], prompts: Sequence[str]) -> list[Lesson]:
    """The two made styles, and a real one for each folder. No sprite is taught whose words are a prompt's.

    Raises:
        SystemExit: there are too few sprites.
    """
    held = held_back(sprites)
    if len(held) < 2 * TRAINED + FEWEST:
        raise SystemExit(f"{len(held)} held-back sprites are too few; {2 * TRAINED + FEWEST} are needed.")
    result = []
    for number, (style, rule) in enumerate(STYLES.items()):
        taken = held[number * TRAINED : (number + 1) * TRAINED]
        taught = tuple((rule(s.image), " ".join(s.words.sentence)) for s in taken)
        others = tuple(rule(s.image) for s in held if s not in taken)
        result.append(Lesson(style, taught, others, tuple(s.image for s in taken), tuple(prompts)))
    return result + [_real(folder, tuple(s.image for s in held[:TRAINED]), prompts) for folder in real]


def _real(folder: Path, plain: tuple[Pixels, ...], prompts: Sequence[str]) -> Lesson:
    named = [(image, words) for image, words in real_sprites(folder) if words and words not in prompts]
    if len(named) < TRAINED + FEWEST:
        raise SystemExit(f"{len(named)} sprites with words in {folder} are too few; {TRAINED + FEWEST} are needed.")
    # The sprites at both ends of the order were taught while the rule and the training were developed, and are used up
    # (decision 0075): these are the middle ones.
    first = (len(named) - TRAINED) // 2
    others = named[:first] + named[first + TRAINED :]
    nouns = {words.split()[-1] for _, words in others}
    asked = tuple(prompt for prompt in prompts if prompt.split()[-1] in nouns)
    taught = tuple(named[first : first + TRAINED])
    return Lesson(folder.name, taught, tuple(image for image, _ in others), plain, asked, real=True)
