"""The trainer of the embedded model: from pictures and captions to a checkpoint that draws."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.embedded.architecture import SPECIAL, Architecture, build_text_encoders, load_embedded, save_checkpoint
from pipelines.embedded.canvas import CLEAR, place
from pipelines.embedded.colors import COLORS, color_shares, main_colors, name_pixels, repaint
from pipelines.embedded.language import head_words
from pipelines.embedded.training import train as training
from pipelines.embedded.training.captions import read_words
from pipelines.embedded.training.data import Sprite, pack, read_sprites, vocabulary
from pipelines.embedded.training.objective import DRAWS, Objective, text_states
from pipelines.embedded.training.train import Plan, Trainer, build, prepare, save_state
from pipelines.errors import InvalidRequest

TINY = Architecture(blocks=(32, 32, 32), text_width=32, text_layers=2, text_heads=2, size_embedding=8)
HUES = {"red": (220, 40, 40), "green": (40, 160, 60), "blue": (50, 80, 220)}


def write_data(folder: Path, count: int = 12) -> Path:
    """Coloured discs and squares with both forms of metadata lines."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for i in range(count):
        color, shape = list(HUES)[i % 3], ("disc", "square")[i % 2]
        y, x = np.mgrid[0:16, 0:16]
        inside = (
            (x - 8) ** 2 + (y - 8) ** 2 < 40 + i if shape == "disc" else (abs(x - 8) < 5) & (abs(y - 8) < 4 + i % 3)
        )
        image = np.zeros((16, 16, 4), np.uint8)
        image[inside] = (*HUES[color], 255)
        Image.fromarray(image).save(folder / f"{i}.png")
        entry: dict[str, object] = {"file_name": f"{i}.png", "text": f"{color} {shape} on the ground"}
        if i % 2:
            entry |= {"tags": [shape, color], "name": f"{color}_{shape}", "kind": "item", "native": 16}
        lines.append(json.dumps(entry))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def sprites(tmp_path_factory: pytest.TempPathFactory) -> list[Sprite]:
    return read_sprites([write_data(tmp_path_factory.mktemp("data"))], 16)


def trainer_of(sprites: list[Sprite], plan: Plan) -> tuple[Trainer, list[str]]:
    words, packed, _ = prepare(sprites, 3)
    return Trainer(
        Objective(*build(words, None, TINY, plan.dropout), packed, words), plan, torch.device("cpu"), False
    ), words


def test_both_forms_of_metadata_are_read(sprites: list[Sprite]):
    assert [s.words.noun for s in sprites[:4]] == ["disc", "square", "disc", "square"]
    assert {s.native for s in sprites} == {16}
    assert sprites[0].image.shape == (32, 32, 4)


def test_a_folder_without_metadata_says_what_to_write(tmp_path: Path):
    with pytest.raises(InvalidRequest, match=r"metadata\.jsonl"):
        read_sprites([tmp_path])


def test_a_broken_line_is_named(tmp_path: Path):
    data = write_data(tmp_path / "data", 3)
    with (data / "metadata.jsonl").open("a") as file:
        file.write('{"file_name": "gone.png", "text": "nothing"}\n')
    with pytest.raises(InvalidRequest, match="line 4"):
        read_sprites([data])


def test_a_picture_that_is_too_large_is_left_out_and_a_small_one_is_doubled():
    assert place(np.full((40, 40, 4), 255, np.uint8)) is None
    placed = place(np.full((16, 8, 4), 255, np.uint8))
    assert placed is not None
    canvas, native = placed
    assert native == 16
    assert (canvas[..., 3] > 0).sum() == 32 * 16
    assert tuple(canvas[0, 0]) == CLEAR


@pytest.mark.parametrize(
    ("sentence", "noun"),
    [
        ("gray granite stump on stone base", "stump"),
        ("pair of brown leather boots", "boots"),
        ("green hydra with two heads standing", "hydra"),
        ("dark gray stone brick wall tile", "wall"),
    ],
)
def test_the_noun_of_a_caption_is_what_it_shows(sentence: str, noun: str):
    assert read_words(sentence).noun == noun
    assert head_words(("red",)) == []


@pytest.mark.parametrize("color", COLORS)
def test_a_repainted_sprite_has_the_colour_it_was_painted_in(color: str):
    rgb = np.array([[30, 15, 15], [120, 20, 20], [210, 40, 40], [235, 110, 100]], np.uint8)
    counts = np.array([20, 40, 120, 30])
    names = name_pixels(repaint(rgb, counts, color, np.random.default_rng(0)))
    shares = np.bincount(names, counts, len(COLORS)) / counts.sum()
    assert color in main_colors(shares)[:2]


def test_a_repainted_picture_is_never_described_without_its_colour(sprites: list[Sprite]):
    words = vocabulary(sprites, 1)
    packed = pack(sprites, words)
    colors = {words.index(c) for c in COLORS if c in words}
    for picture in range(len(packed.images)):
        if picture % 13:
            assert all(colors & set(caption.tolist()) for caption in packed.tokens[picture])
    assert packed.weight.sum() == pytest.approx(1, abs=1e-5)


def test_clear_pixels_keep_their_value_and_shifts_lose_nothing(sprites: list[Sprite]):
    words, packed, _ = prepare(sprites, 2)
    objective = Objective(*build(words, None, TINY, 0.0), packed, words)
    uniform = torch.rand(64, DRAWS, generator=torch.Generator().manual_seed(0))
    pictures, tokens, native, _ = objective.augmented(uniform)
    opaque = pictures[:, 3] > 0
    assert torch.equal(pictures[:, :3].permute(0, 2, 3, 1)[~opaque], torch.zeros(int((~opaque).sum()), 3))
    sizes = {int((i[3] > 0).sum()) for i in packed.images}
    assert {int(o.sum()) for o in opaque} <= sizes
    assert tokens.shape == (64, 16)
    assert set(native.tolist()) == {16.0, 0.0}  # 0: a share is not told its size


def test_the_fast_text_states_equal_the_encoders_own():
    for encoder in build_text_encoders(TINY, 20):
        ids = torch.tensor([[2, 7, 9, *[3] * 13], [2, 5, *[3] * 14]])
        with torch.no_grad():
            stock = encoder.eval()(ids, output_hidden_states=True)
            states, pooled = text_states(encoder, ids)
        torch.testing.assert_close(states, stock.hidden_states[-2])
        own = stock.text_embeds if hasattr(stock, "text_embeds") else stock.pooler_output
        torch.testing.assert_close(pooled, own)


@pytest.mark.slow
def test_a_hundred_steps_from_nothing_bring_the_loss_down(sprites: list[Sprite]):
    trainer, _ = trainer_of(sprites, Plan(steps=120, batch=8, rate=3e-3, warmup=10, dropout=0.0))
    losses = []
    for _ in range(120):
        trainer.step()
        losses.append(float(trainer.loss))
    assert np.mean(losses[-30:]) < 0.7 * np.mean(losses[:10])


@pytest.mark.slow
def test_a_resumed_run_equals_an_unbroken_one(sprites: list[Sprite], tmp_path: Path):
    plan = Plan(steps=8, batch=4, warmup=2, dropout=0.1)
    whole, _ = trainer_of(sprites, plan)
    for _ in range(8):
        whole.step()
    first, _ = trainer_of(sprites, plan)
    for _ in range(5):
        first.step()
    save_state(tmp_path / "state.pt", first.state())
    second, _ = trainer_of(sprites, plan)
    torch.rand(7)  # what happens in between does not matter
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(3):
        second.step()
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters, second.parameters, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(whole.averages, second.averages, strict=True))


def test_a_checkpoint_of_the_same_shape_is_where_a_run_begins(tmp_path: Path):
    words, others = [*SPECIAL, "red", "disc"], [*SPECIAL, "blue", "red"]
    save_checkpoint(tmp_path / "checkpoint", *build(words, None, TINY, 0.0), words)
    old = load_embedded(folder=tmp_path / "checkpoint")
    unet, encoder, _ = build(others, tmp_path / "checkpoint", TINY, 0.1)
    pairs = zip(unet.state_dict().values(), old.unet.state_dict().values(), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)
    mine, theirs = (e.get_input_embeddings().weight for e in (encoder, old.text_encoder))
    assert torch.equal(mine[others.index("red")], theirs[words.index("red")])


@pytest.mark.slow
def test_the_command_trains_resumes_and_writes_a_checkpoint_that_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data, out = write_data(tmp_path / "data"), tmp_path / "out"
    common = [
        str(data),
        "--out",
        str(out),
        "--blocks",
        "32",
        "32",
        "32",
        "--batch",
        "4",
        "--variants",
        "2",
        "--device",
        "cpu",
    ]
    assert training.main([*common, "--steps", "4", "--report", "2"]) == 0
    assert training.main([*common, "--steps", "4"]) == 1
    assert "--resume" in capsys.readouterr().err
    assert training.main([*common, "--resume"]) == 0
    pipeline = load_embedded(folder=out / "checkpoint")
    assert pipeline("red disc", num_inference_steps=1, guidance_scale=1.0, output_type="np").images.shape == (
        1,
        32,
        32,
        4,
    )
    assert len((out / "log.jsonl").read_text().splitlines()) == 2


def test_the_colours_of_a_picture_are_named_as_a_person_would():
    picture = np.zeros((8, 8, 4), np.uint8)
    picture[:] = (10, 10, 10, 255)
    picture[2:6, 1:7] = (200, 30, 30, 255)
    assert main_colors(color_shares(picture))[0] == "red"
