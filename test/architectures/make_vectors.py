"""Writes vectors/: tiny random models of each architecture as Hugging Face's transformers builds and saves them,
with the logits that it computes in binary64 and the tokens that it chooses greedily; and the same weights as GGUF
files by llama.cpp's own library, with the changes that its converter makes.

    pip install torch transformers safetensors gguf && python3 test/architectures/make_vectors.py
"""

import copy
import json
import math
import pathlib
import shutil

import gguf
import numpy
import torch
import transformers
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen2Config, Qwen3Config

TO = pathlib.Path(__file__).parent / "vectors"
PROMPT = [(7 * i * i + 3 * i + 1) % 61 for i in range(24)]
MORE = 12

SMALL = dict(
    vocab_size=61,
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    bos_token_id=1,
    eos_token_id=2,
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=500.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)
CONFIGS = {
    "gpt2": GPT2Config(
        vocab_size=61, n_positions=64, n_embd=24, n_layer=2, n_head=3, bos_token_id=1, eos_token_id=2
    ),
    "qwen2": Qwen2Config(**SMALL, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**SMALL, head_dim=8, tie_word_embeddings=False),
    "llama3": LlamaConfig(
        **SMALL,
        head_dim=12,
        rope_parameters=LLAMA3,
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=False,
    ),
    "linear": LlamaConfig(
        **SMALL,
        head_dim=10,
        rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0),
        tie_word_embeddings=True,
    ),
}


ARCHITECTURES = {
    "gpt2": gguf.MODEL_ARCH.GPT2,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "llama": gguf.MODEL_ARCH.LLAMA,
}


def rope_divisors(config):
    """The tensor rope_freqs, as the converter computes it."""
    rope, size = config.rope_parameters, config.head_dim
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    context = rope["original_max_position_embeddings"]
    divisors = []
    for i in range(0, size, 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (i / size)
        if wavelength < context / high:
            divisors.append(1.0)
        elif wavelength > context / low:
            divisors.append(rope["factor"])
        else:
            smooth = (context / wavelength - low) / (high - low)
            divisors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return numpy.array(divisors, dtype=numpy.float32)


def in_turns(rows, heads):
    """Rows of each head so that pairs half a head apart become neighbours."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def write_gguf(path, config, model):
    kind = config.model_type
    writer = gguf.GGUFWriter(path, kind)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if kind == "gpt2":
        writer.add_feed_forward_length(4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        rope = config.rope_parameters
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(rope["rope_theta"])
        if getattr(config, "head_dim", None) is not None:
            writer.add_key_length(config.head_dim)
            writer.add_value_length(config.head_dim)
        if rope["rope_type"] == "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(rope["factor"])
        if rope["rope_type"] == "llama3":
            writer.add_tensor("rope_freqs.weight", rope_divisors(config))
    names = gguf.get_tensor_name_map(ARCHITECTURES[kind], config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.float().numpy()
        if kind == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            values = values.T
        if kind == "llama" and ".q_proj." in name:
            values = in_turns(values, config.num_attention_heads)
        if kind == "llama" and ".k_proj." in name:
            values = in_turns(values, config.num_key_value_heads)
        stem, end = name.rsplit(".", 1)
        target = f"{names.get_name(stem)}.{end}"
        values = numpy.ascontiguousarray(values)
        if values.ndim == 1:
            writer.add_tensor(target, values)
            continue
        halves = (values.view(numpy.uint32) >> 16).astype(numpy.uint16)
        bf16 = gguf.GGMLQuantizationType.BF16
        writer.add_tensor(target, halves.view(numpy.uint8), raw_dtype=bf16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    shutil.rmtree(TO, ignore_errors=True)
    for seed, (name, config) in enumerate(CONFIGS.items()):
        torch.manual_seed(seed)
        config._attn_implementation = "eager"
        model = AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for key, tensor in model.named_parameters():
                # Far from initialisation, so that every part is felt; eight bits, so that files are exact in BF16.
                spread = 0.3 if tensor.dim() > 1 else 0.4
                start = 1.0 if tensor.dim() == 1 and key.endswith("weight") else 0.0
                tensor.copy_((start + spread * torch.randn(tensor.shape)).to(torch.bfloat16).float())
        copy.deepcopy(model).to(torch.bfloat16).save_pretrained(TO / name)
        (TO / name / "generation_config.json").unlink(missing_ok=True)
        write_gguf(TO / name / "model.gguf", config, model)
        model = model.double()
        with torch.no_grad():
            logits = model(torch.tensor([PROMPT])).logits[0]
            tokens = list(PROMPT)
            for _ in range(MORE):
                tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
        expected = {
            "transformers": transformers.__version__,
            "prompt": PROMPT,
            "logits": [[round(x, 5) for x in row] for row in logits.tolist()],
            "greedy": tokens[len(PROMPT) :],
        }
        (TO / name / "expected.json").write_text(json.dumps(expected) + "\n")


main()
