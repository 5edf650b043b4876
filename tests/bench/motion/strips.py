"""`make eval-motion`: numbered strips without labels for a blind judge, their key, and the score of an answers file.

    python -m tests.bench.motion.strips draw OUT [--sheets DATA/sheets] [--keys OUT]
    python -m tests.bench.motion.strips score OUT ANSWERS.json

`draw` writes OUT/strips/NNN.png (one clip each, in random order), OUT/judge (the same strips on numbered sheets, and
the questions) and OUT/key.json. A judge who has seen only OUT/judge writes ANSWERS.json:
{"NNN": {"motion": ..., "direction": ..., "one": true}}.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.records import Pixels, no_progress

SMALL = (
    "soldier",
    "witch",
    "blonde woman",
    "zombie",
    "farmer",
    "dwarf",
    "queen",
    "monk",
    "boy",
    "vampire",
    "elf",
    "viking",
)
"""Characters of the embedded model that are drawn at 16 px: the third list, which no rule was chosen on."""

LARGE = (
    "soldier with spear",
    "witch with staff",
    "dwarf with hammer",
    "zombie",
    "bandit with dagger",
    "goblin with club",
    "king in purple robe",
    "samurai with katana",
    "priest in white robe",
    "paladin with sword and shield",
    "elf with bow",
    "farmer with pitchfork",
)
"""Characters of the embedded model that are drawn at 32 px."""

MOTIONS = ("idle", "walk", "attack", "die")
DIRECTIONS = ("down", "left", "right", "up")
FRAMES = 6
_BACKDROP = np.array([112, 122, 132], np.uint8)


def draw_keys(seed: int = 500) -> dict[str, Pixels]:
    """Front views that the embedded model draws, its best of eight by its own score: name -> RGBA."""
    from server.features.requests import SpriteRequest
    from server.features.sprites import generate_sprites
    from server.settings import Settings
    from server.studio import Studio

    keys = {}
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Settings(project=None, data_dir=Path(folder)))
        try:
            for size, prompts in ((16, SMALL), (32, LARGE)):
                for number, prompt in enumerate(prompts):
                    request = SpriteRequest(prompt=prompt, seed=seed + number, candidates=8, size=size)
                    drawn = generate_sprites(studio, request, no_progress)
                    keys[f"{prompt}, {size} px"] = drawn.sprites[0].image
        finally:
            studio.close()
    return keys


def held_out_walks(folder: Path, count: int = 12) -> dict[str, NDArray[np.uint8]]:
    """Sheets (4, 3, 16, 16, 4) of held-out outlines that step, one of each."""
    from pipelines.embedded.training.motion_data import prepare, read_walks

    made, held_out = prepare(folder)
    sheets = made[16]
    walks = read_walks(folder)[16]
    chosen = {}
    for number in held_out:
        at = np.flatnonzero((sheets.outline == number) & sheets.steps)
        if at.size:
            name = str(sheets.names[at[0]])
            chosen[name] = walks[name]
    names = sorted(chosen)
    picked = np.random.default_rng(0).permutation(len(names))[:count]
    return {names[i]: chosen[names[i]] for i in sorted(picked)}


def strip_of(frames: list[Pixels], zoom: int) -> NDArray[np.uint8]:
    """Frames side by side on one colour, enlarged: (height, width, 3)."""
    shown = []
    for frame in frames:
        padded = np.pad(frame, ((2, 2), (2, 2), (0, 0)))
        shown.append(np.where(padded[..., 3:] > 0, padded[..., :3], _BACKDROP).astype(np.uint8))
        shown.append(np.zeros((shown[-1].shape[0], 1, 3), np.uint8))
    return np.concatenate(shown[:-1], axis=1).repeat(zoom, 0).repeat(zoom, 1)


def sheets_of(strips: Path, out: Path, each: int = 26, columns: int = 2) -> None:
    """Writes the strips as OUT/sheet-N.png, `each` on a sheet, with their numbers and nothing else."""
    from PIL import Image, ImageDraw

    wide, high = 1050, 166
    paths = sorted(strips.glob("*.png"))
    for number, start in enumerate(range(0, len(paths), each), start=1):
        part = paths[start : start + each]
        sheet = Image.new("RGB", (wide * columns, high * -(-each // columns)), "white")
        pen = ImageDraw.Draw(sheet)
        for i, path in enumerate(part):
            x, y = i % columns * wide, i // columns * high
            pen.text((x + 4, y + 76), path.stem, fill="black")
            with Image.open(path) as strip:
                sheet.paste(strip, (x + 44, y + 3))
        sheet.save(out / f"sheet-{number}.png", optimize=True)


def clips_of(keys: dict[str, Pixels], real: dict[str, NDArray[np.uint8]]) -> list[tuple[dict[str, Any], list[Pixels]]]:
    """What is judged: every motion of every key, walks from a random side; and the same of real held-out sheets."""
    from pipelines.animation.making import make_clips
    from pipelines.animation.painted import painted_clip

    rng = np.random.default_rng(3)
    listed = []
    for name, key in keys.items():
        small = name.endswith("16 px")
        directions = DIRECTIONS if small else ("",)
        made = make_clips(key, MOTIONS, FRAMES, directions, words=name.split(",")[0], seed=1)
        for motion in MOTIONS:
            side = str(rng.choice(directions)) if small else ""
            clip = f"{motion}_{side}" if side else motion
            listed.append(
                (
                    {"group": "model", "name": name, "motion": motion, "direction": side, "how": made.how[clip]},
                    made.frames[clip],
                )
            )
    for name, cells in real.items():
        made = make_clips(cells[0, 0], MOTIONS, FRAMES, DIRECTIONS, seed=1)
        for motion in MOTIONS:
            side = str(rng.choice(DIRECTIONS))
            listed.append(
                (
                    {
                        "group": "held out",
                        "name": name,
                        "motion": motion,
                        "direction": side,
                        "how": made.how[f"{motion}_{side}"],
                    },
                    made.frames[f"{motion}_{side}"],
                )
            )
        side = str(rng.choice(DIRECTIONS))
        own = painted_clip(cells[DIRECTIONS.index(side)], side, "walk", FRAMES)
        listed.append(
            (
                {
                    "group": "drawn by an artist",
                    "name": name,
                    "motion": "walk",
                    "direction": side,
                    "how": "the pack's own walk",
                },
                own,
            )
        )
    return listed


def draw(out: Path, sheets: Path | None, keys: Path | None) -> None:
    """Writes strips, questions and key."""
    from PIL import Image

    strips = out / "strips"
    strips.mkdir(parents=True, exist_ok=True)
    drawn = _keys(keys) if keys else draw_keys()
    for name, key in drawn.items():
        (out / "keys").mkdir(exist_ok=True)
        Image.fromarray(key).save(out / "keys" / f"{name.replace(' ', '_').replace(',', '')}.png")
    listed = clips_of(drawn, held_out_walks(sheets) if sheets else {})
    order = np.random.default_rng(11).permutation(len(listed))
    answers = {}
    for number, index in enumerate(order):
        fact, frames = listed[int(index)]
        zoom = max(2, 128 // frames[0].shape[0])
        Image.fromarray(strip_of(frames, zoom)).save(strips / f"{number:03d}.png", optimize=True)
        answers[f"{number:03d}"] = fact
    (out / "key.json").write_text(json.dumps(answers, indent=1) + "\n")
    judge = out / "judge"
    judge.mkdir(exist_ok=True)
    sheets_of(strips, judge)
    (judge / "questions.md").write_text(
        f"# {len(order)} strips\n\nThe pictures sheet-*.png hold numbered strips; each shows the {FRAMES} frames of one"
        " motion of a game character,\nfrom left to right. A strip may be enlarged before it is looked at.\n"
        "Say for each, without knowing how it was made:\n\n"
        "- motion: idle, walk, attack, die\n"
        "- direction: which way the character looks: down (at you), up (away), left, right\n"
        "- one: whether it is one and the same character in all frames (true or false)\n"
        '\nWrite answers.json: {"000": {"motion": "walk", "direction": "left", "one": true}, ...}\n'
    )
    print(f"{out}: {len(order)} strips")


def _keys(folder: Path) -> dict[str, Pixels]:
    from PIL import Image

    found = {}
    for path in sorted((folder / "keys").glob("*.png")):
        words = path.stem.replace("_", " ")
        name = f"{words[:-6]}, {words[-5:]}"
        found[name] = np.asarray(Image.open(path).convert("RGBA"))
    return found


def score(out: Path, answers: Path) -> dict[str, dict[str, float]]:
    """Shares of right answers by group, of all strips in the key; a missing answer is a wrong one."""
    key, given = json.loads((out / "key.json").read_text()), json.loads(answers.read_text())
    counted: dict[str, list[tuple[bool, bool, bool | None]]] = defaultdict(list)
    for number, fact in key.items():
        said = given.get(number, {})
        asked = fact["direction"] or None
        side = None if asked is None else said.get("direction") == asked
        counted[fact["group"]].append((said.get("motion") == fact["motion"], said.get("one") is True, side))
        counted[f"{fact['group']}: {fact['motion']}"].append(counted[fact["group"]][-1])
    table = {}
    for group, rows in sorted(counted.items()):
        sides = [side for _, _, side in rows if side is not None]
        table[group] = {
            "strips": len(rows),
            "motion": float(np.mean([row[0] for row in rows])),
            "one": float(np.mean([row[1] for row in rows])),
            "direction": float(np.mean(sides)) if sides else float("nan"),
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("draw")
    one.add_argument("out", type=Path)
    one.add_argument("--sheets", type=Path, help="the folder `sheets` of the training data, for held-out characters")
    one.add_argument("--keys", type=Path, help="an earlier OUT, whose keys are used again")
    two = verbs.add_parser("score")
    two.add_argument("out", type=Path)
    two.add_argument("answers", type=Path)
    options = parser.parse_args()
    if options.verb == "draw":
        draw(options.out, options.sheets, options.keys)
        return
    for group, row in score(options.out, options.answers).items():
        print(f"{group:34}" + "  ".join(f"{name} {value:.3g}" for name, value in row.items()))


if __name__ == "__main__":
    main()
