"""The tokenizer: byte-pair pieces with byte fallback, trained with SentencePiece, in llama2.c's layout.

Layout of tokenizer.bin (little endian): int32 length of the longest piece in bytes, then for each id
float32 score, int32 length, bytes. Ids: 0 unknown, 1 begin, 2 end, 3..258 the bytes `<0xNN>`, then pieces.
"""

import io
import struct
from collections.abc import Iterable
from pathlib import Path

import sentencepiece

BEGIN, END = 1, 2


def train_tokenizer(lines: Iterable[str], vocab_size: int) -> sentencepiece.SentencePieceProcessor:
    """Trains on `lines`. Line breaks are never pieces: they are spelled as bytes."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        byte_fallback=True,
        character_coverage=1.0,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        max_sentence_length=100_000,
        num_threads=1,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def write_tokenizer(tokenizer: sentencepiece.SentencePieceProcessor, path: Path) -> None:
    pieces = []
    for token in range(tokenizer.vocab_size()):
        piece = tokenizer.id_to_piece(token)
        # The reader of this layout expects these two names for the marks of a document.
        text = {BEGIN: "\n<s>\n", END: "\n</s>\n"}.get(token, piece.replace("\u2581", " "))
        pieces.append((tokenizer.get_score(token), text.encode()))
    with path.open("wb") as file:
        file.write(struct.pack("<i", max(len(data) for _, data in pieces)))
        for score, data in pieces:
            file.write(struct.pack("<fi", score, len(data)) + data)


def read_tokenizer(path: Path) -> list[tuple[float, bytes]]:
    data, offset, pieces = path.read_bytes(), 4, []
    while offset < len(data):
        score, length = struct.unpack_from("<fi", data, offset)
        pieces.append((score, data[offset + 8 : offset + 8 + length]))
        offset += 8 + length
    return pieces


class Tokenizer:
    """The plain encoder that every reader of tokenizer.bin implements; used by the sampler and as a check."""

    def __init__(self, path: Path) -> None:
        self.pieces = read_tokenizer(path)
        self.ids = {data: token for token, (_, data) in enumerate(self.pieces) if token > 258}

    def encode(self, text: str) -> list[int]:
        """One blank before the text, characters or bytes, then the best-scored neighbouring pair again and again."""
        tokens: list[int] = []
        for character in " " + text:
            data = character.encode()
            tokens += [self.ids[data]] if data in self.ids else [byte + 3 for byte in data]
        while True:
            best, best_at = -1e10, -1
            for at in range(len(tokens) - 1):
                if tokens[at] > 258 and tokens[at + 1] > 258:
                    merged = self.ids.get(self.pieces[tokens[at]][1] + self.pieces[tokens[at + 1]][1])
                    if merged is not None and self.pieces[merged][0] > best:
                        best, best_at = self.pieces[merged][0], at
            if best_at < 0:
                return tokens
            merged_bytes = self.pieces[tokens[best_at]][1] + self.pieces[tokens[best_at + 1]][1]
            tokens[best_at : best_at + 2] = [self.ids[merged_bytes]]

    def decode(self, tokens: list[int]) -> str:
        """The blank that `encode` put before the text is dropped."""
        data = b"".join(bytes([t - 3]) if 3 <= t <= 258 else self.pieces[t][1] for t in tokens if t > 2)
        return data.decode("utf-8", "replace").removeprefix(" ")
