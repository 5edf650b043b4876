"""What a training picture is called: from metadata.jsonl, a text file beside it, or its file name.

Owns words only. Knows nothing of pixels, tokens or models.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from loras.errors import DatasetError

_NO_WORDS = frozenset(
    ("sprite", "sprites", "tile", "tiles", "icon", "icons", "img", "image", "assets", "texture", "textures", "final")
)


def read_metadata(file: Path) -> dict[str, str]:
    """file_name -> caption of an imagefolder's metadata.jsonl (keys `file_name` and `text`, as Hugging Face has them).

    Raises:
        DatasetError: a line is not such an entry; it says which.
    """
    captions: dict[str, str] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            captions[str(entry["file_name"])] = " ".join(str(entry.get("text", "")).split())
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{file}, line {number} is no entry of a metadata.jsonl ({error}). A line is "
                '{"file_name": "goblin.png", "text": "green goblin with a club"}: mend it or take it out.'
            ) from error
    return captions


def beside(picture: Path) -> str:
    """The caption in the `.txt` file of the picture's name; empty where there is none."""
    try:
        return " ".join(picture.with_suffix(".txt").read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError):
        return ""


def from_name(path: Path | str) -> str:
    """Words out of a relative path: `monsters/red_dragon_02.png` is "red dragon", `goblin/03.png` is "goblin".

    >>> from_name("items/HealthPotion-2.png")
    'health potion'
    """
    parts = Path(path).with_suffix("").parts
    for part in reversed(parts):
        spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", part)
        words = [w for w in re.findall(r"[a-z]+", spaced.lower()) if len(w) > 1 and w not in _NO_WORDS]
        if words:
            return " ".join(words)
    return ""


def with_trigger(trigger: str, caption: str) -> str:
    """The caption with the trigger word in front, once."""
    if not trigger or trigger in re.split(r"[\s,]+", caption):
        return caption or trigger
    return f"{trigger} {caption}".strip()
