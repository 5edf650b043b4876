"""The training loop on a tiny random SDXL: what a step depends on, what it changes, and what is written."""

from __future__ import annotations

import json
import resource
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from loras.cache import Cache, build_cache
from loras.dataset import Dataset, Example
from loras.errors import TrainingError
from loras.export import DIFFUSERS_NAME, About, export
from loras.files import synced
from loras.loss import NoiseSchedule, spread_times
from loras.options import CONVOLUTIONS, TrainOptions, options_for
from loras.registry import read_lora
from loras.trainer import Trainer, load_state, save_state
from pipelines.adapters.stack import WeightStack
from pipelines.embedded.architecture import build_scheduler
from pipelines.embedded.words import read_prompt
from pipelines.models.catalog import Model, embedded_model
from pipelines.sdxl.diffusion import DiffusersBackend
from tests.loras.pictures import sprite
from tests.loras.rig import tiny_resident

OPTIONS = TrainOptions(steps=4, batch=2, rank=4, rate=1e-2, resolution=64, average=0.9)
V_PREDICTION = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}


def pictures(count: int, words: tuple[str, ...] = ("red dragon", "stone golem", "")) -> Dataset:
    return Dataset(tuple(Example(sprite(i), words[i % len(words)], f"{i}.png") for i in range(count)), ())


def trainer(options: TrainOptions = OPTIONS, count: int = 3, scheduler: dict[str, Any] | None = None) -> Trainer:
    resident = tiny_resident(scheduler)
    return Trainer(resident, build_cache(resident, pictures(count), options), options)


@torch.no_grad()
def answer(unet: Any) -> torch.Tensor:
    """What a UNet says to fixed inputs."""
    draw = torch.Generator().manual_seed(1)
    added = {
        "text_embeds": torch.randn(1, 32, generator=draw),
        "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]]),
    }
    seen, states = torch.randn(1, 4, 8, 8, generator=draw), torch.randn(1, 77, 48, generator=draw)
    return unet(seen, 500, encoder_hidden_states=states, added_cond_kwargs=added).sample


@pytest.mark.slow
def test_a_run_that_stopped_continues_with_the_same_losses(tmp_path: Path) -> None:
    scheduler = V_PREDICTION
    whole = trainer(scheduler=scheduler)
    losses = [whole.step() for _ in range(4)]

    first = trainer(scheduler=scheduler)
    first.step()
    first.step()
    save_state(tmp_path / "checkpoint.pt", first.state())
    second = trainer(scheduler=scheduler)
    second.restore(load_state(tmp_path / "checkpoint.pt"))
    second.step()
    second.step()

    assert second.losses == losses
    assert all(torch.equal(a, b) for a, b in zip(whole.factors().values(), second.factors().values(), strict=True))
    with whole.averaged(), second.averaged():
        assert torch.equal(answer(whole.unet), answer(second.unet))


@pytest.mark.slow
def test_a_checkpoint_from_a_gpu_continues_as_a_cpu_computes(tmp_path: Path) -> None:
    first, second = trainer(), trainer()
    first.step()
    save_state(tmp_path / "checkpoint.pt", first.state())
    state = load_state(tmp_path / "checkpoint.pt")
    groups = state["optimizer"]["param_groups"]
    there = [{**group, "fused": True, "capturable": True, "lr": torch.tensor(group["lr"])} for group in groups]
    second.restore({**state, "optimizer": {**state["optimizer"], "param_groups": there}})
    assert second.step() == first.step()
    assert all(torch.equal(a, b) for a, b in zip(first.factors().values(), second.factors().values(), strict=True))


def test_a_fresh_lora_changes_nothing_and_training_changes_only_the_lora() -> None:
    resident = tiny_resident()
    before = {n: p.clone() for n, p in resident.unet.state_dict().items()}
    said = answer(resident.unet)
    run = Trainer(resident, build_cache(resident, pictures(2), OPTIONS), OPTIONS)
    assert torch.equal(answer(run.unet), said)
    run.step()
    assert not torch.equal(answer(run.unet), said)
    after = {n.replace(".base_layer", ""): p for n, p in resident.unet.state_dict().items() if "lora_" not in n}
    assert after.keys() == before.keys()
    assert all(torch.equal(after[n], before[n]) for n in before)


def test_the_loss_falls() -> None:
    options = replace(OPTIONS, steps=24, batch=1, targets=("conv_out",), caption_dropout=0.0)
    run = trainer(options, count=1)
    for _ in range(24):
        run.step()
    assert sum(run.losses[-8:]) < 0.9 * sum(run.losses[:8])


def test_every_picture_comes_once_an_epoch_in_batches_of_one_shape() -> None:
    options = replace(OPTIONS, resolution=256, batch=2)
    resident = tiny_resident()
    shapes = [(16, 16), (16, 16), (24, 14), (16, 16), (24, 14)]
    examples = [Example(sprite(i, 24)[: s[0], : s[1]], f"picture {i}", f"{i}") for i, s in enumerate(shapes)]
    cache = build_cache(resident, Dataset(tuple(examples), ()), options)
    assert sorted(len(b.mean) for b in cache.buckets) == [2, 3]
    run = Trainer(resident, cache, options)
    seen: list[tuple[int, int]] = []
    for step in range(3):  # 2 + 1 pictures of one shape, 2 of the other
        run.done = step
        bucket, rows = run.next_batch()
        seen += [(id(bucket), row) for row in rows]
    assert len(seen) == 6
    assert len(set(seen)) == 5


def test_a_single_picture_fills_a_batch() -> None:
    run = trainer(replace(OPTIONS, batch=4), count=1)
    assert run.next_batch()[1] == [0, 0, 0, 0]
    run.step()


def test_a_loss_that_is_not_finite_ends_the_run_with_advice() -> None:
    run = trainer()
    run.cache.buckets[0].mean.fill_(float("nan"))
    with pytest.raises(TrainingError, match="lower rate"):
        run.step()


def test_a_checkpoint_of_another_run_is_refused() -> None:
    state = trainer().state()
    with pytest.raises(TrainingError, match="other options"):
        trainer(replace(OPTIONS, seed=1)).restore(state)


def test_a_broken_checkpoint_or_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"x" * 100)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt is broken"):
        load_state(tmp_path / "checkpoint.pt")
    (tmp_path / "cache.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(TrainingError, match=r"cache\.safetensors is broken"):
        Cache.load(tmp_path / "cache.safetensors")


def test_a_cache_is_read_as_it_was_written(tmp_path: Path) -> None:
    cache = build_cache(tiny_resident(), pictures(3), OPTIONS, trigger="mygame")
    cache.save(tmp_path / "cache.safetensors")
    again = Cache.load(tmp_path / "cache.safetensors")
    assert again.about == cache.about
    assert torch.equal(again.hidden, cache.hidden)
    assert all(torch.equal(a.mean, b.mean) for a, b in zip(again.buckets, cache.buckets, strict=True))
    assert not cache.pooled[0].any()  # no caption, as guidance pushes away from it


def test_the_embedded_model_is_taught_captions_in_the_words_in_which_it_is_asked_for_pictures() -> None:
    dataset = pictures(3, ("a warg", "shagrat the ugluk", ""))
    cache = build_cache(DiffusersBackend().resident(embedded_model()), dataset, OPTIONS, trigger="mygame")
    assert cache.about["captions"] == [read_prompt("warg").text] == ["wolf"]
    assert cache.about["unread"] == ["shagrat", "ugluk"]


def test_min_snr_weights_and_targets_are_the_papers() -> None:
    plain = NoiseSchedule.of(tiny_resident().scheduler, 5.0)
    snr = plain.alphas / (1 - plain.alphas)
    assert torch.allclose(plain.weights, torch.minimum(snr, torch.tensor(5.0)) / snr)
    v = NoiseSchedule.of(build_scheduler(), 5.0)
    assert v.predicts_v
    assert v.alphas[-1] == 0
    assert v.weights[-1] > 0
    latents, noise = torch.randn(8, 4, 4, 4), torch.randn(8, 4, 4, 4)
    times = spread_times(torch.rand(8), 1000)
    seen, target = v.noised(latents, noise, times)
    alpha = v.alphas[times].view(-1, 1, 1, 1)
    assert torch.allclose(alpha.sqrt() * seen - (1 - alpha).sqrt() * target, latents, atol=1e-5)
    assert torch.equal(plain.noised(latents, noise, times)[1], noise)
    assert plain.loss(noise, noise, times) == 0


def test_times_are_spread_over_the_whole_range() -> None:
    times = spread_times(torch.rand(100), 1000)
    assert torch.equal(times // 10, torch.arange(100))


def test_the_rate_rises_and_falls_to_zero() -> None:
    options = TrainOptions(steps=1000, rate=1.0)
    rates = [options.rate_at(step) for step in range(1000)]
    assert rates[0] < rates[25] < max(rates) == 1.0
    assert rates[-1] < 1e-4
    assert TrainOptions(steps=1).rate_at(0) > 0


def test_options_suit_the_model_and_are_checked() -> None:
    assert options_for(embedded_model()).batch > 1
    big = Model("x", "x", "x", Path())
    assert options_for(big, rank=32, steps=None) == replace(TrainOptions(), rank=32)
    with pytest.raises(TrainingError, match="rank=0 is out of range"):
        options_for(big, rank=0)


# Files


def about(options: TrainOptions) -> About:
    return About("mygame", "tiny", "abc", "none", options.rank, options.targets, "mygame", "123", 3, 4)


@pytest.mark.slow
def test_both_forms_say_what_the_trainer_learned(tmp_path: Path) -> None:
    options = replace(OPTIONS, targets=(*OPTIONS.targets, *CONVOLUTIONS))
    run = trainer(options)
    for _ in range(3):
        run.step()
    with run.averaged():
        learned = answer(run.unet)
    export(run.factors(), about(options), tmp_path / "mygame.safetensors", tmp_path / "diffusers")
    for path in (tmp_path / "mygame.safetensors", tmp_path / "diffusers"):
        other = tiny_resident()
        base = answer(other.unet)
        stack = WeightStack({"unet": other.unet})
        stack.apply([(path, 1.0)])
        assert (learned - base).abs().max() > 100 * (learned - answer(other.unet)).abs().max()
        stack.apply([(path, 0.0)])
        assert torch.equal(answer(other.unet), base)


@pytest.mark.slow
def test_stock_diffusers_loads_both_forms(tmp_path: Path) -> None:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    run = trainer()
    run.step()
    with run.averaged():
        learned = answer(run.unet)
    export(run.factors(), about(OPTIONS), tmp_path / "mygame.safetensors", tmp_path / "diffusers")
    from diffusers.loaders.lora_pipeline import StableDiffusionXLLoraLoaderMixin

    for path in (tmp_path / "mygame.safetensors", tmp_path / "diffusers" / DIFFUSERS_NAME):
        unet: UNet2DConditionModel = tiny_resident().unet
        state, alphas = StableDiffusionXLLoraLoaderMixin.lora_state_dict(str(path), unet_config=unet.config)[:2]
        StableDiffusionXLLoraLoaderMixin.load_lora_into_unet(state, alphas, unet)
        assert torch.allclose(answer(unet), learned, atol=1e-3)


def test_a_file_says_what_it_was_made_from(tmp_path: Path) -> None:
    run = trainer()
    export(run.factors(), about(OPTIONS), tmp_path / "mygame.safetensors", tmp_path / "diffusers")
    info = read_lora(tmp_path / "mygame.safetensors")
    assert (info.name, info.state, info.rank, info.base, info.base_hash, info.trigger) == (
        "mygame",
        "available",
        4,
        "tiny",
        "abc",
        "mygame",
    )
    assert "rights in the pictures" in info.licence
    tensors = load_file(tmp_path / "mygame.safetensors")
    assert all(name.startswith("lora_unet_") for name in tensors)
    assert {float(t) for name, t in tensors.items() if name.endswith(".alpha")} == {4.0}
    json.loads(about(OPTIONS).metadata()["dgx_pixels"])


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    run = trainer()
    run.step()
    save_state(tmp_path / "checkpoint.pt", run.state())
    before = (tmp_path / "checkpoint.pt").read_bytes()
    run.step()
    # a limit on the size of files refuses the write just where a full disk would
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*checkpoint.pt'"):
            save_state(tmp_path / "checkpoint.pt", run.state())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def write_half() -> None:
        with synced(path) as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert path.read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["a"]
