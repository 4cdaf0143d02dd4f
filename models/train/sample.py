"""Reads a finished model folder and writes text: `python sample.py ../storyteller "The Fox and the Crow"`.

Float arithmetic for a look at the model only: the node computes with its own exact arithmetic.
"""

import argparse
import json
from pathlib import Path

import torch
from model import Llama, Shape
from safetensors.torch import load_file
from tokenizer import BEGIN, END, Tokenizer


def load_model(folder: Path) -> Llama:
    config = json.loads((folder / "config.json").read_text())
    shape = Shape(
        hidden=config["hidden_size"],
        intermediate=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        vocab=config["vocab_size"],
        context=config["max_position_embeddings"],
        eps=config["rms_norm_eps"],
        rope_base=config["rope_theta"],
    )
    model = Llama(shape)
    tensors = {name: value.float() for name, value in load_file(folder / "model.safetensors").items()}
    model.load_state_dict(tensors, strict=True)
    return model


@torch.no_grad()
def generate(model, tokenizer, prompt: str, count: int, temperature: float, top_p: float, seed: int) -> str:
    """Prompt and answer as text, ended by `</s>` if the model ended it. Temperature 0 is greedy."""
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    tokens = [BEGIN, *tokenizer.encode(prompt)] if prompt else [BEGIN]
    for _ in range(min(count, model.shape.context - len(tokens))):
        logits = model(torch.tensor([tokens]))[0, -1]
        if temperature == 0:
            token = int(logits.argmax())
        else:
            probabilities, order = torch.softmax(logits / temperature, -1).sort(descending=True)
            probabilities[probabilities.cumsum(0) - probabilities > top_p] = 0
            token = int(order[torch.multinomial(probabilities, 1, generator=generator)])
        if token == END:
            return tokenizer.decode(tokens) + "</s>"
        tokens.append(token)
    return tokenizer.decode(tokens)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("prompt", help="what the user typed; an empty line is added")
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--top-p", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        generate(
            load_model(options.folder),
            Tokenizer(options.folder / "tokenizer.bin"),
            options.prompt.strip() + "\n\n",
            options.tokens,
            options.temperature,
            options.top_p,
            options.seed,
        )
    )
