"""The embedded model draws the same picture in a batch of any size where its rows are fixed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from pipelines.records import DrawRequest, Pixels
from pipelines.sdxl.diffusion import DiffusersBackend


@pytest.fixture
def backend() -> DiffusersBackend:
    return DiffusersBackend("cpu", fixed_rows=True)


def draw(backend: DiffusersBackend, seeds: Sequence[int], guidance: float) -> list[Pixels]:
    request = DrawRequest("embedded", ("red dragon",) * len(seeds), tuple(seeds), 32, 32, steps=3, guidance=guidance)
    return list(backend.draw(request, lambda done, total: None).images)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_picture_does_not_depend_on_the_batch(backend: DiffusersBackend, guidance: float) -> None:
    whole = draw(backend, range(8), guidance)
    for parts in ((range(4), range(4, 8)), (range(3), range(3, 6), range(6, 8))):
        parted = [image for part in parts for image in draw(backend, part, guidance)]
        assert all(np.array_equal(a, b) for a, b in zip(whole, parted, strict=True))


def test_the_network_itself_does_not_depend_on_the_batch(backend: DiffusersBackend) -> None:
    draw(backend, (1,), 3.0)
    (resident,) = backend.residents.values()
    generator = torch.Generator().manual_seed(0)
    width, pooled = resident.unet.config.cross_attention_dim, resident.unet.config.projection_class_embeddings_input_dim
    pooled -= 6 * resident.unet.config.addition_time_embed_dim
    latents, hidden, words = (
        torch.randn(shape, generator=generator)
        for shape in ((16, resident.unet.config.in_channels, 16, 16), (16, 32, width), (16, pooled))
    )
    sizes = torch.full((16, 6), 32.0)

    def call(rows: slice) -> torch.Tensor:
        added = {"text_embeds": words[rows], "time_ids": sizes[rows]}
        return resident.unet(latents[rows], torch.tensor(500), hidden[rows], added_cond_kwargs=added).sample

    with torch.inference_mode():
        whole = call(slice(16))
        for count in (2, 5, 8):
            assert torch.equal(call(slice(count)), whole[:count])
