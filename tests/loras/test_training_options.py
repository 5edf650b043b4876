"""What trainers' users expect: alpha as the loss mask, a held-out loss, Prodigy, alpha and dropout of the adapter."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from loras.buckets import fit_canvas
from loras.cache import Cache, build_cache
from loras.dataset import Dataset, Example
from loras.errors import TrainingError
from loras.export import About, export
from loras.log import LOG, RunLog, read_log
from loras.loss import NoiseSchedule
from loras.options import ATTENTION, CONVOLUTIONS, TrainOptions, options_for, parse_options
from loras.page import write_page
from loras.preview import loss_plot
from loras.trainer import load_state, save_state
from pipelines.adapters.stack import WeightStack
from pipelines.models.catalog import Model, embedded_model
from pipelines.pixels.png import read_picture
from tests.loras.pictures import sprite
from tests.loras.rig import tiny_resident
from tests.loras.test_trainer import OPTIONS, answer, pictures, trainer

BIG = Model("x", "x", "x", Path())


# alpha as the loss mask


def test_what_is_transparent_is_left_out_of_the_loss() -> None:
    schedule = NoiseSchedule.of(tiny_resident().scheduler, 5.0)
    predicted, target, times = torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8, 8), torch.tensor([10, 900])
    mask = torch.zeros(2, 1, 8, 8)
    mask[:, :, :4] = 1
    outside = predicted.clone()
    outside[:, :, 4:] = 7
    assert schedule.loss(outside, target, times, mask) == 0
    assert schedule.loss(outside, target, times) > 0
    inside = predicted.clone()
    inside[:, :, :4] = 1
    whole = torch.ones_like(predicted)
    assert torch.isclose(schedule.loss(inside, target, times, mask), schedule.loss(whole, target, times))
    assert torch.isfinite(schedule.loss(inside, target, times, torch.zeros_like(mask)))


def test_the_mask_is_the_opaque_share_of_each_latent_cell() -> None:
    image = np.zeros((16, 16, 4), np.uint8)
    image[:8, :, 3] = 255
    cache = build_cache(tiny_resident(), Dataset((Example(image, "x", "x.png"),), ()), OPTIONS)
    mask = cache.buckets[0].mask
    assert mask is not None
    assert mask.shape == (1, 1, 8, 8)
    assert (mask[0, 0, :4] == 1).all()
    assert (mask[0, 0, 4:] == 0).all()
    assert not fit_canvas(image, 64).shown[32:].any()  # type: ignore[index]


def test_a_step_learns_only_where_the_mask_shows() -> None:
    run = trainer()
    assert run.step() > 0
    for bucket in run.buckets:
        assert bucket.mask is not None
        bucket.mask.zero_()
    assert run.step() == 0


def test_masks_can_be_turned_off_and_opaque_pictures_have_none(tmp_path: Path) -> None:
    assert build_cache(tiny_resident(), pictures(2), replace(OPTIONS, masked=False)).buckets[0].mask is None
    solid = sprite(1)
    solid[..., 3] = 255
    cache = build_cache(tiny_resident(), Dataset((Example(solid, "", "x"),), ()), OPTIONS)
    assert cache.buckets[0].mask is None


def test_a_cache_keeps_its_masks(tmp_path: Path) -> None:
    cache = build_cache(tiny_resident(), pictures(2), OPTIONS)
    cache.save(tmp_path / "cache.safetensors")
    again = Cache.load(tmp_path / "cache.safetensors").buckets[0].mask
    assert again is not None
    assert torch.equal(again, cache.buckets[0].mask)  # type: ignore[arg-type]


# the held-out loss


def test_held_out_pictures_are_not_learned_from_and_chosen_by_the_seed() -> None:
    options = replace(OPTIONS, validation=0.4)
    run = trainer(options, count=5)
    assert len(run.held) == 2
    assert sum(len(bucket.mean) for bucket in run.buckets) == 3
    held = [bucket.mean[row] for bucket, row in run.held]
    learned = [row for bucket in run.buckets for row in bucket.mean]
    assert not any(torch.equal(a, b) for a in held for b in learned)
    again = trainer(options, count=5)
    assert all(torch.equal(a.mean[i], b.mean[j]) for (a, i), (b, j) in zip(run.held, again.held, strict=True))


@pytest.mark.slow
def test_the_held_out_loss_is_the_same_until_something_is_learned() -> None:
    run = trainer(replace(OPTIONS, validation=0.4), count=5)
    first, second = run.validate(), run.validate()
    assert first == second
    run.step()
    assert run.validate() != first
    assert [step for step, _ in run.validations] == [0, 0, 1]


@pytest.mark.slow
def test_measuring_changes_no_step() -> None:
    plain, measured = (trainer(replace(OPTIONS, validation=0.4), count=5) for _ in range(2))
    for _ in range(2):
        measured.validate()
        assert plain.step() == measured.step()
    assert trainer().validate() is None


def test_one_picture_cannot_be_split() -> None:
    with pytest.raises(TrainingError, match="Give more"):
        trainer(replace(OPTIONS, validation=0.1), count=1)


def test_the_plot_shows_both_lines() -> None:
    plain, both = loss_plot([0.5, 0.4, 0.3]), loss_plot([0.5, 0.4, 0.3], validations=[(0, 0.6), (3, 0.35)])
    orange = (read_picture(both)[..., :3] == (190, 84, 20)).all(axis=-1)
    assert orange.sum() > 100
    assert not orange[:, :48].any()  # the first value is measured before the first step: it stays on the axis
    assert not (read_picture(plain)[..., :3] == (190, 84, 20)).all(axis=-1).any()


# optimizer and adapter


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"optimizer": "prodigy", "rate": 1.0}, {"dropout": 0.3}, {"alpha": 1.0}])
def test_a_run_with_an_option_goes_on_as_if_it_had_never_stopped(tmp_path: Path, more: dict) -> None:
    options = replace(OPTIONS, steps=4, validation=0.4, **more)
    whole, first, second = (trainer(options, count=5) for _ in range(3))
    losses = [whole.step() for _ in range(4)]
    first.step()
    first.validate()
    first.step()
    save_state(tmp_path / "checkpoint.pt", first.state())
    second.restore(load_state(tmp_path / "checkpoint.pt"))
    second.step()
    second.step()
    assert second.losses == losses
    assert second.validations == first.validations
    assert all(torch.equal(a, b) for a, b in zip(whole.factors().values(), second.factors().values(), strict=True))


@pytest.mark.slow
def test_prodigy_finds_a_rate_and_the_loss_falls(capsys: pytest.CaptureFixture[str]) -> None:
    options = replace(
        OPTIONS, steps=40, batch=1, targets=("conv_out",), caption_dropout=0.0, optimizer="prodigy", rate=1.0
    )
    run = trainer(options, count=1)
    for _ in range(40):
        run.step()
    assert run.optimizer.param_groups[0]["d"] > 1e-6
    assert sum(run.losses[-8:]) < 0.9 * sum(run.losses[:8])
    assert capsys.readouterr().out == ""


def test_prodigy_without_its_library_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prodigyopt", None)
    with pytest.raises(TrainingError, match=r"dgx-pixels\[train\]"):
        trainer(replace(OPTIONS, optimizer="prodigy", rate=1.0))


@pytest.mark.slow
def test_dropout_acts_in_steps_alone() -> None:
    plain, dropped = trainer(), trainer(replace(OPTIONS, dropout=0.5))
    assert plain.step() == pytest.approx(dropped.step())  # B = 0: nothing to drop yet
    assert torch.equal(answer(dropped.unet), answer(dropped.unet))
    assert plain.step() != dropped.step()


@pytest.mark.slow
def test_a_file_with_another_alpha_says_what_the_trainer_learned(tmp_path: Path) -> None:
    options = replace(OPTIONS, alpha=1.0, average=0.0)
    run = trainer(options)
    for _ in range(3):
        run.step()
    learned = answer(run.unet)
    said = About("mygame", "tiny", "abc", "none", options.rank, options.targets, "", "123", 3, 3)
    export(run.factors(), said, tmp_path / "mygame.safetensors", tmp_path / "diffusers")
    for path in (tmp_path / "mygame.safetensors", tmp_path / "diffusers"):
        other = tiny_resident()
        base = answer(other.unet)
        WeightStack({"unet": other.unet}).apply([(path, 1.0)])
        assert (learned - base).abs().max() > 100 * (learned - answer(other.unet)).abs().max()


def test_options_are_read_from_a_line() -> None:
    given = "alpha=8, optimizer=Prodigy targets=all;validation=0.1, masked=no, sample_every=50"
    options = options_for(BIG, **parse_options(given))
    assert (options.alpha, options.optimizer, options.validation) == (8, "prodigy", 0.1)
    assert options.targets == ATTENTION + CONVOLUTIONS
    assert options.rate == 1.0
    assert not options.masked
    assert options_for(BIG, **parse_options("")) == TrainOptions()
    assert options_for(embedded_model(), optimizer="prodigy", rate=0.5).rate == 0.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour=red", "with a name of: alpha"),
        ("alpha", "Write name=value"),
        ("alpha=much", "give a number"),
        ("targets=most", "give attention, transformer, all"),
        ("optimizer=sgd", "give adamw or prodigy"),
        ("masked=perhaps", "give true or false"),
        ("validation=0.9", "out of range"),
        ("alpha=nan", "out of range"),
        ("dropout=1", "out of range"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(text: str, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        options_for(BIG, **parse_options(text))


@pytest.mark.slow
def test_a_checkpoint_of_an_earlier_version_goes_on() -> None:
    first, second = trainer(), trainer()
    first.step()
    state = first.state()
    for name in ("alpha", "dropout", "masked", "validation", "optimizer"):
        del state["options"][name]
    del state["validations"]
    second.restore(state)
    assert second.step() == first.step()


# the log and the page


def test_the_log_is_taken_back_to_the_checkpoint(tmp_path: Path) -> None:
    with RunLog(tmp_path, 0) as log:
        for step in range(1, 6):
            log.write(step, loss=0.1 * step)
    with (tmp_path / LOG).open("a") as file:
        file.write('{"step": 6, "lo')  # a kill in the middle of a line
    with RunLog(tmp_path, 3) as log:
        log.write(4, loss=9.0)
        log.write(4, validation=2.0)
    lines = read_log(tmp_path / LOG)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 4]
    assert lines[3] == {"step": 4, "loss": 9.0}


def test_tensorboard_reads_what_was_learned(tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

    with RunLog(tmp_path, 0) as log:
        log.write(1, loss=0.5, rate=0.25)
    (events,) = (tmp_path / "tensorboard").iterdir()
    data, found, at = events.read_bytes(), {}, 0
    while at < len(data):  # a record: length (8), its CRC (4), the event, its CRC (4)
        length = int.from_bytes(data[at : at + 8], "little")
        event = Event.FromString(data[at + 12 : at + 12 + length])
        for value in event.summary.value:
            found[value.tag] = (event.step, value.simple_value)
        at += 16 + length
    assert found == {"loss": (1, 0.5), "rate": (1, 0.25)}


def test_without_the_writer_the_json_log_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with RunLog(tmp_path, 0) as log:
        log.write(1, loss=0.5)
    assert read_log(tmp_path / LOG) == [{"step": 1, "loss": 0.5}]
    assert [f.name for f in tmp_path.iterdir()] == [LOG]


def test_the_jobs_page_shows_the_loss_and_every_sheet(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for step in (0, 250):
        (tmp_path / "samples" / f"step-{step:06d}.png").write_bytes(b"x")
    (tmp_path / "loss.png").write_bytes(b"x")
    write_page(tmp_path, "<my>game", "Step 250 of 1500")
    page = (tmp_path / "page.html").read_text()
    assert page.index("step-000250.png") < page.index("step-000000.png")
    assert "loss.png" in page
    assert "&lt;my&gt;game" in page
    assert "http://" not in page
