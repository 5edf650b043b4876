"""Models beside the SDXL family that diffusers' own pipelines draw with: what each is, and what it cannot do.

Imports no torch. Sources: the model cards (steps, guidance, licences) and the pipelines of diffusers 0.42.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.models.hub import Repo

_FILES = ("model_index.json", "*/*.json", "*/*.txt", "*/*.jinja", "*/*.safetensors")
"""Of a repository: the diffusers layout. Single files at its root (for other programs) are not fetched."""


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of model.

    Attributes:
        id: its name in `Model.family`.
        name: how a user names the model, as `sdxl` is named.
        pipeline: the class of diffusers, as model_index.json writes it, and `module`, where it is.
        repo: what `models pull <name>` fetches.
        guidance_range: guidance scales that it takes; `guidance_argument` is the pipeline's name for it.
        negative: whether it takes a negative prompt.
        references: whether its pipeline draws after pictures (`image`).
    """

    id: str
    name: str
    title: str
    pipeline: str
    module: str
    repo: Repo
    steps: int
    guidance: float
    guidance_range: tuple[float, float]
    guidance_argument: str = "guidance_scale"
    negative: bool = False
    references: bool = False


FAMILIES: Mapping[str, Family] = {
    family.id: family
    for family in (
        Family(
            id="flux2-klein",
            name="klein",
            title="FLUX.2 klein 4B",
            pipeline="Flux2KleinPipeline",
            module="diffusers.pipelines.flux2.pipeline_flux2_klein",
            repo=Repo("black-forest-labs/FLUX.2-klein-4B", "main", _FILES, "apache-2.0"),
            steps=4,
            guidance=1.0,
            guidance_range=(0.0, 10.0),
            references=True,
        ),
        Family(
            id="z-image",
            name="z-image",
            title="Z-Image-Turbo",
            pipeline="ZImagePipeline",
            module="diffusers.pipelines.z_image.pipeline_z_image",
            repo=Repo("Tongyi-MAI/Z-Image-Turbo", "main", _FILES, "apache-2.0"),
            steps=8,
            guidance=0.0,
            guidance_range=(0.0, 10.0),
            negative=True,
        ),
        Family(
            id="qwen-image",
            name="qwen-image",
            title="Qwen-Image",
            pipeline="QwenImagePipeline",
            module="diffusers.pipelines.qwenimage.pipeline_qwenimage",
            repo=Repo("Qwen/Qwen-Image", "main", _FILES, "apache-2.0"),
            steps=30,
            guidance=4.0,
            guidance_range=(1.0, 10.0),
            guidance_argument="true_cfg_scale",
            negative=True,
        ),
    )
}
BY_NAME: Mapping[str, Family] = {family.name: family for family in FAMILIES.values()}
BY_PIPELINE: Mapping[str, Family] = {family.pipeline: family for family in FAMILIES.values()}
