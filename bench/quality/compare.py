"""What each precision costs in quality: its logits beside float32 arithmetic on the same dequantized file.

Run from the repository's root, with gguf, numpy and torch installed (onnxruntime too for --onnx):
    python3 bench/quality/compare.py MODEL.gguf TEXT.txt [--tokens 20480] [--window 512]
        [--precisions w8a8,w8a14,w14a14] [--onnx FOLDER] [--state FILE]

Prints for each precision the mean KL divergence a token (nats), the share of positions whose likeliest
token changes, and the perplexity beside that of float32. FOLDER is what ../model-speed/make_onnx.py makes of
the same file: its 8-bit model joins as a row of its own. With a state file, a run that was cut off goes on after
its last window, unless model, text, windows or the published digest of the arithmetic have changed. Owns no rounding of ours.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from float_llama import FloatLlama

NODE = ["npx", "node", "--conditions=source"]
FLOAT = "f32"
PEER = "transformers.js q8"
# Rows that are compared at once: few enough for the caches.
ROWS = 32


def main() -> None:
    flags = read_flags()
    precisions = flags.precisions.split(",")
    count, window = flags.tokens, flags.window
    tokens = np.frombuffer(start("tokens.ts", flags.model, flags.text).stdout.read(), dtype="<u4")
    tokens = tokens[: min(count, len(tokens)) // window * window]
    file = Path(tempfile.mkdtemp()) / "tokens.u32"
    file.write_bytes(tokens.tobytes())
    sums = State(flags, tokens)
    first = sums.windows
    reference = FloatLlama(flags.model)
    vocabulary = reference.embedding.shape[0]
    streams = {p: start("logits.ts", flags.model, p, str(file), str(window), str(first)).stdout for p in precisions}
    readers = ThreadPoolExecutor(len(precisions))

    def read(precision: str) -> Future:
        return readers.submit(streams[precision].read, window * vocabulary * 4)

    peer = Peer(flags.onnx) if flags.onnx else None
    coming = {p: read(p) for p in precisions}
    for at in range(first, len(tokens) // window):
        part = tokens[at * window : (at + 1) * window].astype(np.int64)
        exact = reference.logits(torch.tensor(part))
        rows = {}
        for precision in precisions:
            raw = np.frombuffer(coming[precision].result(), dtype="<f4")
            coming[precision] = read(precision)
            rows[precision] = torch.from_numpy(raw.reshape(window, vocabulary).copy())
        if peer is not None:
            rows[PEER] = torch.from_numpy(peer.logits(part))
        sums.add(compare(exact, rows, torch.tensor(part)))
        print(f"{(at + 1) * window} tokens", file=sys.stderr, flush=True)
    report(sums, window)


def read_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--tokens", type=int, default=20480)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--precisions", default="w8a8,w8a14,w14a14")
    parser.add_argument("--onnx")
    parser.add_argument("--state")
    return parser.parse_args()


def start(script: str, *arguments: str) -> subprocess.Popen:
    command = [*NODE, f"bench/quality/{script}", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=1 << 20)


def compare(exact: torch.Tensor, rows: dict[str, torch.Tensor], tokens: torch.Tensor) -> dict[str, list[float]]:
    """KL divergence, changes of the likeliest token, and loss, each summed over a window."""
    sums = {name: np.zeros(3) for name in (FLOAT, *rows)}
    for start_row in range(0, len(tokens), ROWS):
        some = slice(start_row, start_row + ROWS)
        truth = torch.log_softmax(exact[some].double(), -1)
        shares, likeliest = truth.exp(), exact[some].argmax(-1)
        targets = tokens[start_row + 1 : start_row + ROWS + 1, None]
        for name in sums:
            mine = truth if name == FLOAT else torch.log_softmax(rows[name][some].double(), -1)
            sums[name][2] -= mine[: len(targets)].gather(1, targets).sum().item()
            if name == FLOAT:
                continue
            sums[name][0] += (shares * (truth - mine)).sum().item()
            sums[name][1] += (likeliest != rows[name][some].argmax(-1)).sum().item()
    return {name: values.tolist() for name, values in sums.items()}


def report(sums: "State", window: int) -> None:
    positions = sums.windows * window
    predicted = positions - sums.windows
    print(f"{positions} tokens in windows of {window}, torch {torch.__version__}")
    for name, (kl, changes, loss) in sums.total().items():
        line = f"{name:18} perplexity {np.exp(loss / predicted):.4f}"
        if name != FLOAT:
            line += f"  KL {kl / positions:.3e}  top-1 changes {100 * changes / positions:.3f} %"
        print(line)


class State:
    """The sums of the windows so far; in a file too, if there is one."""

    def __init__(self, flags: argparse.Namespace, tokens: np.ndarray) -> None:
        self.file = Path(flags.state) if flags.state else None
        arithmetic = Path("src/backend/published-digest.ts").read_bytes()
        self.key = {
            "model": [Path(flags.model).name, Path(flags.model).stat().st_size],
            "tokens": hashlib.sha256(tokens.tobytes()).hexdigest(),
            "window": flags.window,
            "precisions": flags.precisions,
            "onnx": flags.onnx,
            "arithmetic": hashlib.sha256(arithmetic).hexdigest(),
        }
        lines = self.file.read_text().splitlines() if self.file and self.file.exists() else []
        known = [json.loads(line) for line in lines]
        self.all = known[1:] if known and known[0] == self.key else []
        if self.file and not self.all:
            self.file.write_text(json.dumps(self.key) + "\n")

    @property
    def windows(self) -> int:
        return len(self.all)

    def add(self, sums: dict[str, list[float]]) -> None:
        self.all.append(sums)
        if self.file:
            with self.file.open("a") as file:
                file.write(json.dumps(sums) + "\n")

    def total(self) -> dict[str, np.ndarray]:
        return {name: sum(np.array(window[name]) for window in self.all) for name in self.all[0]}


class Peer:
    """The 8-bit model that transformers.js runs, on the same runtime."""

    def __init__(self, folder: str) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(f"{folder}/onnx/model_quantized.onnx")

    def logits(self, tokens: np.ndarray) -> np.ndarray:
        feeds = {
            "input_ids": tokens[None],
            "attention_mask": np.ones_like(tokens)[None],
            "num_logits_to_keep": np.array(0, np.int64),
        }
        for given in self.session.get_inputs():
            if given.name.startswith("past_key_values."):
                _, groups, _, size = given.shape
                feeds[given.name] = np.zeros((1, groups, 0, size), np.float32)
        return self.session.run(["logits"], feeds)[0][0]


if __name__ == "__main__":
    main()
