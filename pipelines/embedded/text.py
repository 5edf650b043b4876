"""Encode prompts for the embedded model: its tokenizer and its two CLIP text encoders without transformers.

Importing transformers takes 2 of the first sprite's processor seconds. The modules have the parameter names of
`transformers.models.clip.modeling_clip`, so that checkpoints and LoRAs fit both, and give the same bits
(tests/pipelines/embedded/test_text.py). Source: CLIP's text transformer (Radford et al. 2021), pre-norm, causal.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from pipelines.embedded.unet import Unfilled


class Encoded(NamedTuple):
    """What an encoder returns.

    `first` is the projected pooled state (batch, width) where the encoder has a projection, else the last layer's
    state, normalized (batch, tokens, width). `hidden_states` begins with the embeddings and has one entry per layer.
    """

    first: Tensor
    hidden_states: tuple[Tensor, ...]


class EmbeddedTextEncoder(nn.Module):
    """CLIP's text transformer, with the names of transformers' CLIPTextModel."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.config = SimpleNamespace(**config)
        self.embeddings = _Embeddings(config["vocab_size"], config["max_position_embeddings"], width)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(_Layer(config) for _ in range(config["num_hidden_layers"]))
        self.final_layer_norm = nn.LayerNorm(width, eps=config["layer_norm_eps"])

    @classmethod
    def from_pretrained(cls, folder: Path, dtype: torch.dtype, **_: Any) -> EmbeddedTextEncoder:
        """Loads `config.json` and `model.safetensors` of a folder.

        Raises:
            OSError, ValueError, KeyError, RuntimeError, SafetensorError: a file is missing, broken or does not fit.
        """
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config.get("hidden_act") != "quick_gelu":
            raise ValueError(f"{folder}: only CLIP text encoders with quick_gelu can be read here.")
        with torch.device("meta"), Unfilled():
            model = cls(config)
        weights = {name: value.to(dtype) for name, value in load_file(folder / "model.safetensors").items()}
        model.load_state_dict(weights, assign=True)
        return model.eval()

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.final_layer_norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.final_layer_norm.weight.dtype

    def forward(self, ids: Tensor, output_hidden_states: bool = True) -> Encoded:
        """Encodes token ids (batch, tokens)."""
        states = [self.embeddings(ids)]
        for layer in self.encoder.layers:  # pyright: ignore[reportGeneralTypeIssues]
            states.append(layer(states[-1]))
        return Encoded(self.final_layer_norm(states[-1]), tuple(states))


class EmbeddedTextEncoderWithProjection(nn.Module):
    """The same with a projected pooled output, with the names of transformers' CLIPTextModelWithProjection."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.text_model = EmbeddedTextEncoder(config)
        self.config = self.text_model.config
        self.text_projection = nn.Linear(config["hidden_size"], config["projection_dim"], bias=False)

    from_pretrained = classmethod(EmbeddedTextEncoder.from_pretrained.__func__)  # pyright: ignore[reportFunctionMemberAccess]

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.text_model.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.text_model.dtype

    def forward(self, ids: Tensor, output_hidden_states: bool = True) -> Encoded:
        """Encodes token ids (batch, tokens); the pooled state is the one of the first end token."""
        last, states = self.text_model(ids)
        ends = (ids == self.config.eos_token_id).int().argmax(dim=-1)
        pooled = last[torch.arange(len(last), device=last.device), ends]
        return Encoded(self.text_projection(pooled), states)


class _Embeddings(nn.Module):
    def __init__(self, words: int, tokens: int, width: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(words, width)
        self.position_embedding = nn.Embedding(tokens, width)

    def forward(self, ids: Tensor) -> Tensor:
        positions = torch.arange(ids.shape[-1], device=ids.device)
        return self.token_embedding(ids) + self.position_embedding(positions)


class _Layer(nn.Module):
    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.self_attn = _Attention(width, config["num_attention_heads"])
        self.layer_norm1 = nn.LayerNorm(width, eps=eps)
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, config["intermediate_size"]), "fc2": nn.Linear(config["intermediate_size"], width)}
        )
        self.layer_norm2 = nn.LayerNorm(width, eps=eps)

    def forward(self, states: Tensor) -> Tensor:
        states = states + self.self_attn(self.layer_norm1(states))
        inner = self.mlp["fc1"](self.layer_norm2(states))
        return states + self.mlp["fc2"](inner * torch.sigmoid(1.702 * inner))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, states: Tensor) -> Tensor:
        def split(projection: nn.Module) -> Tensor:
            return projection(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)

        mixed = functional.scaled_dot_product_attention(
            split(self.q_proj), split(self.k_proj), split(self.v_proj), is_causal=True
        )
        return self.out_proj(mixed.transpose(1, 2).flatten(-2))


class WordTokenizer:
    """The word-level tokenizer of a checkpoint, called as transformers' tokenizers are."""

    def __init__(self, folder: Path) -> None:
        """Reads `tokenizer.json` and `tokenizer_config.json`.

        Raises:
            OSError, ValueError, KeyError: a file is missing or broken.
        """
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        self.model_max_length = int(settings["model_max_length"])
        self.backend_tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
        self._padded = Tokenizer.from_str(self.backend_tokenizer.to_str())
        self._padded.enable_truncation(self.model_max_length)
        pad = settings["pad_token"]
        self._padded.enable_padding(length=self.model_max_length, pad_token=pad, pad_id=self._padded.token_to_id(pad))

    def __call__(self, prompt: str, **_: Any) -> SimpleNamespace:
        """Returns token ids (1, model_max_length) as `input_ids`, cut off or filled up to the full length."""
        return SimpleNamespace(input_ids=torch.tensor([self._padded.encode(prompt).ids]))
