"""Writes a model folder: model.safetensors (float16), config.json."""

import json
from pathlib import Path

import torch
from model import Llama
from safetensors.torch import save_file


def save_model(model: Llama, folder: Path) -> None:
    """The tied output matrix is not stored twice."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().to(torch.float16).contiguous() for name, value in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(model.shape.config(), indent=2) + "\n")
