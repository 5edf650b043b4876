"""Draw in the style of reference pictures: an IP-Adapter's image tokens for the cross-attentions that decide style.

diffusers' own loader reads the files; its processors are replaced by this project's, which add the attention to the
image tokens to that to the prompt. Only the second attention block on the way up is given them, as InstantStyle found
(Wang et al. 2024; diffusers: set_ip_adapter_scale({"up": {"block_0": [0, 1, 0]}})): the style without the content.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipelines.errors import ModelError
from pipelines.models.extras import ADAPTER_FILE, ADAPTER_FOLDER, IMAGE_ENCODER
from pipelines.records import Pixels
from pipelines.sdxl.float8 import NAMES
from pipelines.sdxl.loading import BROKEN, Resident

STYLE_LAYERS = re.compile(r"up_blocks\.0\.attentions\.1\..*\.attn2\.processor")
CACHED = 32
"""Reference pictures whose tokens are kept."""
SEEN = 224
"""Side in pixels of what the image encoder sees."""


class References:
    """The IP-Adapter of one resident model. Its UNet's cross-attentions read `given` tokens through `PromptKV`."""

    def __init__(self, resident: Resident, folder: Path) -> None:
        """Loads adapter and image encoder.

        Args:
            folder: in the layout of h94/IP-Adapter.

        Raises:
            ModelError: a file is missing, a pickle, broken, or made for another UNet.
        """
        self._device, self._dtype = resident.device, resident.dtype
        self._tokens: OrderedDict[bytes, Tensor] = OrderedDict()
        unet = resident.unet
        for file in (folder / ADAPTER_FOLDER / ADAPTER_FILE, folder / IMAGE_ENCODER / "model.safetensors"):
            if not file.is_file():
                raise ModelError(f"{file} is missing. `dgx-pixels models pull ip-adapter` fetches it.")
        before, kind = dict(unet.attn_processors), unet.config.encoder_hid_dim_type
        rounded = [(m, name, m._buffers[name]) for m in unet.modules() for name in NAMES if name in m._buffers]
        try:
            pipeline = _pipeline(resident)
            pipeline.load_ip_adapter(
                str(folder),
                subfolder=ADAPTER_FOLDER,
                weight_name=ADAPTER_FILE,
                image_encoder_folder=IMAGE_ENCODER,
                local_files_only=True,
            )
            processors, projection = dict(unet.attn_processors), unet.encoder_hid_proj.image_projection_layers[0]
        except BROKEN as error:
            raise ModelError(
                f"The IP-Adapter in {folder} does not fit '{resident.model.id}': {_first_line(error)}. Draw without "
                "reference, or pull it again."
            ) from error
        finally:
            unet.set_attn_processor(before)
            unet.encoder_hid_proj = None
            unet.config.encoder_hid_dim_type = kind
            for module, name, buffer in rounded:  # the loader casts the whole UNet
                setattr(module, name, buffer)
        self._encoder = pipeline.image_encoder.to(resident.device, resident.dtype).eval().requires_grad_(False)
        self._extract = pipeline.feature_extractor
        self._project = projection.to(resident.device, resident.dtype).eval().requires_grad_(False)
        names = [name for name in processors if STYLE_LAYERS.fullmatch(name)]
        self._layers = [unet.get_submodule(name.removesuffix(".processor")) for name in names]
        parts = [layer[0].weight.detach() for n in names for layer in (processors[n].to_k_ip, processors[n].to_v_ip)]
        self._weight = torch.cat(parts).to(resident.device, resident.dtype)
        self._widths = [2 * processors[name].to_k_ip[0].out_features for name in names]

    @torch.inference_mode()
    def encode(self, pictures: Sequence[Pixels]) -> Tensor:
        """Returns the image tokens (1, tokens, width) of the pictures together, four each."""
        return torch.cat([self._encode(picture) for picture in pictures], dim=1)

    @torch.inference_mode()
    def nothing(self, count: int) -> Tensor:
        """Returns the tokens of the negative side for `count` pictures: those of an embedding of zeros."""
        zeros = torch.zeros(1, self._encoder.config.projection_dim, device=self._device, dtype=self._dtype)
        return self._project(zeros).repeat(1, count, 1)

    @contextmanager
    def given(self, tokens: Tensor) -> Iterator[None]:
        """Provides image tokens (batch, tokens, width) for one call of the UNet."""
        image_kv = nn.functional.linear(tokens, self._weight).split(self._widths, dim=-1)
        try:
            for layer, own in zip(self._layers, image_kv, strict=True):
                layer.image_kv = own
            yield
        finally:
            for layer in self._layers:
                layer.image_kv = None

    def _encode(self, picture: Pixels) -> Tensor:
        key = repr(picture.shape).encode() + picture.tobytes()
        if key not in self._tokens:
            seen = self._extract(on_square(picture, SEEN), return_tensors="pt").pixel_values
            embedding = self._encoder(seen.to(self._device, self._dtype)).image_embeds
            self._tokens[key] = self._project(embedding)
            if len(self._tokens) > CACHED:
                self._tokens.popitem(last=False)
        self._tokens.move_to_end(key)
        return self._tokens[key]


def _pipeline(resident: Resident) -> Any:
    """Makes diffusers' pipeline around the UNet, which has the loader."""
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    absent: dict[str, Any] = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    return StableDiffusionXLPipeline(
        vae=resident.vae, unet=resident.unet, scheduler=resident.scheduler, add_watermarker=False, **absent
    )


def on_square(picture: Pixels, least: int) -> Any:
    """Puts the picture over white, centred on a square of at least `least` pixels, enlarged by whole numbers."""
    from PIL import Image

    alpha = picture[..., 3:].astype(np.float32) / 255
    solid = (picture[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)
    height, width = solid.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = solid
    times = -(-least // side)
    return Image.fromarray(square).resize((side * times, side * times), Image.Resampling.NEAREST)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]
