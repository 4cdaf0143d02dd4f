"""Trains the model `storyteller` and writes it: `python train.py --out ../storyteller --work /tmp/storyteller`.

One thread. The learning rate follows a cosine over `--steps`, or over `--minutes` of wall time if that is
reached sooner (a shared machine), so that a run always ends annealed. Every few minutes the weights are
saved in the work folder, with samples in the log; the last weights go to `--out`.
"""

import argparse
import hashlib
import json
import math
import resource
import time
from pathlib import Path

import sentencepiece
import torch
import torch.nn.functional as F
from corpus import Document, load_documents
from model import Llama, Shape
from passages import PassageSampler, take_passage
from sample import generate, load_model
from save import save_model
from tokenizer import BEGIN, END, Tokenizer, train_tokenizer, write_tokenizer

SHAPE = Shape(hidden=256, intermediate=640, layers=4, heads=4, kv_heads=2, vocab=2048, context=512)
SEED = 20261122
# Most of the run uses half the context, which is cheaper; the end uses all of it.
BATCH_TOKENS, SHORT_CONTEXT, LONG_FROM = 3072, 256, 0.82
MATRIX_RATE, OTHER_RATE, FLOOR = 4.0e-3, 2.0e-3, 0.02
WARMUP_STEPS = 100
WEIGHT_DECAY = 0.1
NOVEL_END = 0.5
PROMPTS = ("The Fox and the Crow\n\n", "Tell me a story about a king and a bird.\n\n", "Once upon a time\n\n", "")


def main() -> None:
    options = parse_options()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    options.work.mkdir(parents=True, exist_ok=True)
    documents = load_documents(options.work / "packages")
    training = [document for document in documents if not is_held_out(document)]
    held_out = [document for document in documents if is_held_out(document)]
    pieces = train_tokenizer((p for d in training if d.is_tale for p in d.paragraphs), SHAPE.vocab)
    write_tokenizer(pieces, options.work / "tokenizer.bin")
    reader = Tokenizer(options.work / "tokenizer.bin")
    check_tokenizer(pieces, reader, held_out)

    validation = validation_rows(held_out, pieces)
    model = Llama(SHAPE, options.dropout)
    if options.start:
        model.load_state_dict(load_model(options.start).state_dict())
    print(f"{sum(p.numel() for p in model.parameters())} weights, {len(training)} documents,", end=" ")
    print(f"{sum(len(pieces.encode(p)) for d in training if d.is_tale for p in d.paragraphs)} tokens of tales,", end=" ")
    print(f"{len(held_out)} tales held out: {[d.title for d in held_out]}", flush=True)
    step, seconds = fit(model, PassageSampler(training, SEED + (options.start is not None)), pieces, reader, validation, options)

    for path in (options.work, options.out):
        save_model(model, path)
    write_tokenizer(pieces, options.out / "tokenizer.bin")
    per_token, per_byte = evaluate(model, validation)
    shown = evaluate(model, validation_rows([d for d in training if d.is_tale][::16], pieces))
    report = {
        "steps": step,
        "tokens_seen": step * BATCH_TOKENS,
        "wall_minutes": round(seconds / 60, 1),
        "cpu_minutes": round(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) / 60, 1),
        "validation_nats_per_token": round(per_token, 4),
        "validation_nats_per_byte": round(per_byte, 4),
        "training_nats_per_token": round(shown[0], 4),
        "training_nats_per_byte": round(shown[1], 4),
    }
    print(json.dumps(report, indent=1), flush=True)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--work", type=Path, required=True, help="folder for packages and checkpoints")
    parser.add_argument("--start", type=Path, help="folder of the weights to go on from")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--stop", type=int, default=1 << 30, help="step at which to break off, not annealed")
    parser.add_argument("--rate", type=float, default=1.0, help="share of the peak rates to begin with")
    parser.add_argument("--novels", type=float, default=0.25, help="share of novel passages to begin with")
    parser.add_argument("--dropout", type=float, default=0.0)
    return parser.parse_args()


def is_held_out(document: Document) -> bool:
    """About one tale in thirty, chosen by its title."""
    return document.is_tale and hashlib.sha256(document.title.encode()).digest()[0] % 32 == 10


def check_tokenizer(pieces: sentencepiece.SentencePieceProcessor, reader: Tokenizer, held_out: list[Document]) -> None:
    """The plain reader of tokenizer.bin must agree with SentencePiece, and decoding must give the text back."""
    for document in held_out[:4]:
        text = f"{document.title}\n\n" + "\n".join(document.paragraphs[:3])[:1500]
        if reader.encode(text) != pieces.encode(text) or reader.decode(reader.encode(text)) != text:
            raise SystemExit(f"tokenizer.bin is read differently: {document.title}")


def fit(model, sampler, pieces, reader, validation, options) -> tuple[int, float]:
    """Returns steps done and wall seconds."""
    # Muon for the matrices inside the layers; AdamW for the (tied) embedding and the norms.
    matrices = [p for name, p in model.named_parameters() if name.endswith("_proj.weight")]
    others = [p for name, p in model.named_parameters() if not name.endswith("_proj.weight")]
    muon = torch.optim.Muon(
        matrices, lr=MATRIX_RATE, weight_decay=WEIGHT_DECAY, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    adam = torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    run = torch.compile(batch_loss, dynamic=False)
    started, saved, recent, step, progress = time.monotonic(), time.monotonic(), [], 0, 0.0
    while progress < 1.0 and step < options.stop:
        context = SHORT_CONTEXT if progress < LONG_FROM else SHAPE.context
        rows = next_rows(sampler, pieces, options.novels * max(0.0, 1 - progress / NOVEL_END), context)
        share = options.rate * min(1.0, (step + 1) / WARMUP_STEPS)
        share *= FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))
        muon.param_groups[0]["lr"] = MATRIX_RATE * share
        adam.param_groups[0]["lr"] = OTHER_RATE * share
        model.train()
        loss = run(model, rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        muon.step()
        adam.step()
        model.zero_grad(set_to_none=True)
        recent.append(loss.item())
        step += 1
        elapsed = time.monotonic() - started
        progress = max(step / options.steps, elapsed / 60 / options.minutes)
        if step % 50 == 0:
            print(f"step {step} {elapsed:.0f}s loss {sum(recent) / len(recent):.4f} rate share {share:.3f}", flush=True)
            recent = []
        if time.monotonic() - saved > 240:
            save_model(model, options.work)
            per_token, per_byte = evaluate(model, validation[::3])
            print(f"validation (a third) {per_token:.4f} nats a token, {per_byte:.4f} a byte", flush=True)
            print("---", generate(model, reader, PROMPTS[step % len(PROMPTS)], 70, 0.7, 0.9, step), flush=True)
            saved = time.monotonic()
    return step, time.monotonic() - started


def next_rows(sampler, pieces, novel_share: float, context: int) -> torch.Tensor:
    """Rows of context + 1 tokens: each begins with a passage's begin mark; further passages fill it up."""
    rows = []
    for _ in range(BATCH_TOKENS // context):
        row: list[int] = []
        while len(row) <= context:
            row += [BEGIN, *pieces.encode(sampler.draw(novel_share)), END]
        rows.append(row[: context + 1])
    return torch.tensor(rows)


def batch_loss(model: Llama, rows: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(rows[:, :-1])
    return F.cross_entropy(logits.float().reshape(-1, SHAPE.vocab), rows[:, 1:].reshape(-1))


def validation_rows(documents: list[Document], pieces) -> list[tuple[list[int], int]]:
    """The documents cut into consecutive passages (the first with its title): tokens and bytes of each."""
    rows = []
    for document in documents:
        first = 0
        while first < len(document.paragraphs):
            passage = take_passage(document, first, 1600)
            text = f"{document.title}\n\n{passage}" if first == 0 else passage
            tokens = [BEGIN, *pieces.encode(text), END][: SHAPE.context + 1]
            rows.append((tokens, len(text.encode())))
            first += max(1, passage.count("\n") + 1)
    return rows


@torch.no_grad()
def evaluate(model: Llama, rows: list[tuple[list[int], int]]) -> tuple[float, float]:
    """Nats per token and per byte, in float32."""
    model.eval()
    nats, tokens, size = 0.0, 0, 0
    for row, row_bytes in rows:
        ids = torch.tensor([row])
        nats += F.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:], reduction="sum").item()
        tokens += len(row) - 1
        size += row_bytes
    return nats / tokens, nats / size


if __name__ == "__main__":
    main()
