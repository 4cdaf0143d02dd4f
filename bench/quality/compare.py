"""What each precision costs in quality: its logits beside float32 arithmetic on the same dequantized file.

Run from the repository's root, with gguf, numpy and torch installed:
    python3 bench/quality/compare.py MODEL.gguf TEXT.txt [TOKENS] [WINDOW]

Prints for each precision the mean KL divergence a token (nats), the share of positions whose likeliest
token changes, and the perplexity beside that of float32. Owns the float reference; no rounding of ours.
"""

import subprocess
import sys

import numpy as np
import torch
from gguf import GGUFReader, quants

PRECISIONS = ("w8a8", "w8a14", "w14a14")
NODE = ["npx", "node", "--conditions=source"]


def main() -> None:
    model, text = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 20480
    window = int(sys.argv[4]) if len(sys.argv) > 4 else 512
    tokens = np.frombuffer(run("tokens.ts", model, text).stdout.read(), dtype="<u4")[:count]
    tokens = tokens[: len(tokens) // window * window]
    with open("/tmp/quality-tokens.u32", "wb") as file:
        file.write(tokens.tobytes())
    reference = Llama(model)
    vocabulary = reference.embedding.shape[0]
    ours = {p: run("logits.ts", model, p, "/tmp/quality-tokens.u32", str(window)) for p in PRECISIONS}
    sums = {p: np.zeros(3) for p in ("f32", *PRECISIONS)}
    positions = 0
    for start in range(0, len(tokens), window):
        part = torch.tensor(tokens[start : start + window].astype(np.int64))
        exact = torch.log_softmax(reference.logits(part).double(), -1)
        targets = part[1:]
        sums["f32"][2] -= exact[:-1].gather(1, targets[:, None]).sum().item()
        for precision, process in ours.items():
            raw = process.stdout.read(window * vocabulary * 4)
            logits = torch.from_numpy(np.frombuffer(raw, dtype="<f4").reshape(window, vocabulary).copy())
            mine = torch.log_softmax(logits.double(), -1)
            sums[precision][0] += (exact.exp() * (exact - mine)).sum().item()
            sums[precision][1] += (exact.argmax(-1) != mine.argmax(-1)).sum().item()
            sums[precision][2] -= mine[:-1].gather(1, targets[:, None]).sum().item()
        positions += window
        print(f"{positions} tokens", file=sys.stderr, flush=True)
    predicted = positions - positions // window
    print(f"{positions} tokens in windows of {window}, {len(PRECISIONS)} precisions, torch {torch.__version__}")
    print(f"f32     perplexity {np.exp(sums['f32'][2] / predicted):.4f}")
    for precision in PRECISIONS:
        kl, flips, loss = sums[precision]
        print(
            f"{precision:7} perplexity {np.exp(loss / predicted):.4f}  KL {kl / positions:.3e}"
            f"  top-1 changes {100 * flips / positions:.3f} %"
        )


def run(script: str, *arguments: str) -> subprocess.Popen:
    command = [*NODE, f"bench/quality/{script}", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=1 << 20)


class Llama:
    """A Llama-type model of a GGUF file in float32: rotary pairs are neighbours."""

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


if __name__ == "__main__":
    main()
