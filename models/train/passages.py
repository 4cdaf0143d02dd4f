"""Training examples: passages cut from the documents, each with a begin, an end and often a header.

A passage begins at a paragraph and ends at the end of a sentence, so the model learns to begin and to finish
inside its short context. The header is what a user might type (a title, a request, the first words), then an
empty line. `render` of a fixed generator state is deterministic.
"""

import random
import re

from corpus import Document

SENTENCE_END = re.compile(r"[.!?][\"')]*(?= )")
# Things that stories are about: a header may name those that occur in its passage.
NOUNS = """angel ant apple bear beetle bell bird boat bottle boy bride brother butterfly castle cat child church
coach cock cow crow daisy daughter dog doll donkey duck duckling dwarf eagle elf emperor fairy farmer father fir-tree
fish fisherman flea flower forest fountain fox frog garden ghost giant girl goat goblin gold goose grandmother
hare hedgehog hen hen-house horse house hunter huntsman island king knight lamp lark lily lion lizard mermaid
merchant mill miller mirror money moon mother mountain mouse needle nightingale oak ox owl palace pea peasant pig
poet prince princess queen rat raven ring river robber rose sailor sea servant shadow sheep shepherd shepherdess
ship shoemaker shoes sister snail snow snowman soldier son sparrow spider star stork storm student sun swallow swan
swineherd tailor thief toad tower tree watchman well wife willow wind window winter witch wolf woman wood-cutter
worm""".split()
# A passage that begins so does not read like a beginning.
UNLIKE_A_BEGINNING = re.compile(
    r"(\"|'|And|But|Then|So|He|She|They|It|His|Her|Their|That|This|These|Those|Thus|Now then|At last|Yes|No|Oh|Ah|Here)\b|\"|'"
)
REQUESTS = (
    "Tell me a story about {}",
    "Tell me a story about {}",
    "Tell me a story about {}",
    "Tell me a tale of {}",
    "Tell me about {}",
    "Write a story about {}",
    "Write me a short story about {}",
    "A story about {}",
    "The story of {}",
    "{}",
)


def take_passage(document: Document, first: int, characters: int) -> str:
    """Whole sentences from paragraph `first` on, about `characters` of them, never inside quoted speech."""
    taken: list[str] = []
    for paragraph in document.paragraphs[first:]:
        room = characters - sum(len(part) + 1 for part in taken)
        if len(paragraph) <= room:
            taken.append(paragraph)
            continue
        ends = [match.end() for match in SENTENCE_END.finditer(paragraph)] + [len(paragraph)]
        balanced = [end for end in ends if paragraph.count('"', 0, end) % 2 == 0]
        fitting = [end for end in balanced if end <= room]
        if fitting:
            taken.append(paragraph[: fitting[-1]])
        elif not taken and balanced:
            taken.append(paragraph[: balanced[0]])
        break
    return "\n".join(taken)


class PassageSampler:
    """Draws rendered passages (without begin and end marks)."""

    def __init__(self, documents: list[Document], seed: int) -> None:
        self.random = random.Random(seed)
        self.tales = [document for document in documents if document.is_tale]
        self.novels = [document for document in documents if not document.is_tale]

    def draw(self, novel_share: float) -> str:
        if self.random.random() < novel_share:
            document = self._choose(self.novels)
            return take_passage(document, self._paragraph(document), self._length())
        if self.random.random() < 0.15:
            document, first = self.random.choice(self.tales), 0
        else:
            document = self._choose(self.tales)
            first = self._paragraph(document)
        passage = take_passage(document, first, self._length())
        header = self._header(document, first, passage)
        return f"{header}\n\n{passage}" if header else passage

    def _choose(self, documents: list[Document]) -> Document:
        weights = [sum(map(len, document.paragraphs)) for document in documents]
        return self.random.choices(documents, weights)[0]

    def _paragraph(self, document: Document) -> int:
        """By length: else dialogue, which has many short paragraphs, would begin most passages."""
        return self.random.choices(range(len(document.paragraphs)), [40 + len(p) for p in document.paragraphs])[0]

    def _length(self) -> int:
        return self.random.randint(200, 1500)

    def _header(self, document: Document, first: int, passage: str) -> str:
        kind = self.random.random()
        if first > 0:
            likely = not UNLIKE_A_BEGINNING.match(passage)
            return self._request(passage) if likely and kind < 0.6 else document.title if kind > 0.95 else ""
        if kind < 0.45:
            title = document.title.lower() if self.random.random() < 0.15 else document.title
            return title + ("." if self.random.random() < 0.1 else "")
        if kind < 0.75:
            return self._request(passage)
        return " ".join(passage.split()[: self.random.randint(2, 6)]) if kind < 0.88 else ""

    def _request(self, passage: str) -> str:
        words = re.findall(r"[a-z-]+", passage.lower())
        present = [noun for noun in NOUNS if noun in words]
        if not present:
            return ""
        count = min(len(present), self.random.choice((1, 1, 2, 2, 3)))
        chosen: list[str] = []
        while len(chosen) < count:
            noun = self.random.choices(present, [words.count(noun) for noun in present])[0]
            if noun not in chosen:
                chosen.append(noun)
        definite = self.random.random() < 0.3
        named = [f"the {noun}" if definite else f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}" for noun in chosen]
        listed = named[0] if count == 1 else ", ".join(named[:-1]) + " and " + named[-1]
        request = self.random.choice(REQUESTS).format(listed)
        request = request[0].upper() + request[1:] if self.random.random() < 0.8 else request.lower()
        return request + ("." if self.random.random() < 0.5 else "")
