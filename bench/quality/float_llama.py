"""A Llama-type model of a GGUF file in float32, by PyTorch: what compare.py measures against.

Owns float arithmetic on the dequantized file; rotary pairs are neighbours, as the file has them.
"""

import numpy as np
import torch
from gguf import GGUFReader, quants


class FloatLlama:
    """Logits of all positions of a text."""

    def __init__(self, path: str) -> None:
        reader = GGUFReader(path)
        self.tensors = {t.name: t for t in reader.tensors}
        field = lambda name: reader.fields[f"llama.{name}"].contents()
        self.layers = field("block_count")
        self.heads = field("attention.head_count")
        self.groups = field("attention.head_count_kv")
        self.epsilon = field("attention.layer_norm_rms_epsilon")
        self.theta = field("rope.freq_base")
        self.embedding = self.weight("token_embd")
        self.blocks = [
            {
                name: self.weight(f"blk.{i}.{name}")
                for name in (
                    *("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output"),
                    *("ffn_norm", "ffn_gate", "ffn_up", "ffn_down"),
                )
            }
            for i in range(self.layers)
        ]
        self.gain = self.weight("output_norm")
        self.classifier = self.weight("output") if "output.weight" in self.tensors else self.embedding

    def weight(self, name: str) -> torch.Tensor:
        tensor = self.tensors[f"{name}.weight"]
        return torch.from_numpy(quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))

    def norm(self, x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon) * gain

    def rotate(self, x: torch.Tensor) -> torch.Tensor:
        count, _, size = x.shape
        steps = self.theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        angles = torch.arange(count, dtype=torch.float64)[:, None] * steps
        turn = torch.polar(torch.ones_like(angles), angles)[:, None, :].to(torch.complex64)
        pairs = torch.view_as_complex(x.reshape(count, -1, size // 2, 2).contiguous())
        return torch.view_as_real(pairs * turn).reshape(x.shape)

    @torch.no_grad()
    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding[tokens]
        count = len(tokens)
        for block in self.blocks:
            normed = self.norm(x, block["attn_norm"])
            q, k, v = (normed @ block[f"attn_{n}"].T for n in "qkv")
            q = self.rotate(q.reshape(count, self.heads, -1)).transpose(0, 1)
            k = self.rotate(k.reshape(count, self.groups, -1)).transpose(0, 1)
            v = v.reshape(count, self.groups, -1).transpose(0, 1)
            k, v = (t.repeat_interleave(self.heads // self.groups, 0) for t in (k, v))
            attended = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + attended.transpose(0, 1).reshape(count, -1) @ block["attn_output"].T
            normed = self.norm(x, block["ffn_norm"])
            gate = torch.nn.functional.silu(normed @ block["ffn_gate"].T)
            x = x + (gate * (normed @ block["ffn_up"].T)) @ block["ffn_down"].T
        return self.norm(x, self.gain) @ self.classifier.T
