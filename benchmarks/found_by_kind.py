"""What is taken in and found again, kind by kind, in a folder of real files.

    python benchmarks/found_by_kind.py --data FOLDER [--json] [--keep FOLDER]

FOLDER holds lists that say what is in its files (images/captions.jsonl, images/formats.jsonl,
documents/documents.jsonl, audio/speech.jsonl, sounds/sounds.jsonl, video/video.jsonl). Everything
goes into one library with the nano models; beside it lie screenshots with words, recordings and
films voiced by eSpeak NG, since nano-whisper knows no other voices. Then every kind is asked for
by what is in it, at default settings, and over all kinds at once where nothing else is said. A
place counts as right on the same page, or within 2 seconds.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from found_by_kind_material import Voiced, make_screens, make_voiced

from mmsearch import SearchEngine
from mmsearch.query import Hit
from mmsearch.types import Modality

TOLERANCE = 2.0

LISTS = (
    ("images", "captions"),
    ("images", "formats"),
    ("documents", "documents"),
    ("audio", "speech"),
    ("sounds", "sounds"),
    ("video", "video"),
)

READ = {
    "test.docx": "agents that can converse with each other to accomplish tasks",
    "test.pptx": "04191ea8-5c73-4215-a1d3-1cfb43aaaf12",
    "test.xlsx": "6ff4173b-42a5-4784-9b19-f49caff4d93d",
    "test_blog.html": "Solve the problem carefully. Simplify your answer as much as possible",
    "test_outlook_msg.msg": "body of the test email message",
    "test.json": "9700dc99-6685-40b4-9a3a-5e406dcb37f3",
    "sonnet_001.txt": "From fairest creatures we desire increase",
    "typewriter.png": "laurier, kruidnagel, kerrie",
    "c02-22.pdf": "tip-toeing along a path amongst the trees",
    "linn.pdf": "simultaneous, polyphonic tracks",
    "skew.pdf": "simultaneous, polyphonic tracks",
    "ccitt.pdf": "simultaneous, polyphonic tracks",
    "graph.pdf": "Percentage",
}
"""What somebody reads in files whose list gives no text."""


@dataclass
class Row:
    """One line of the table."""

    kind: str
    files: int
    indexed: int
    asked_by: str = "-"
    asked: int = 0
    first: int = 0
    ten: int = 0
    right_place: int | None = None
    notes: str = ""
    missed: list[str] = field(default_factory=list)


def listed(data: Path, folder: str, name: str) -> list[dict[str, Any]]:
    lines = (data / folder / f"{name}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def pdf_phrases(data: Path, rows: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """(file, six words in a row that stand on one page only, that page) of up to three pages of
    each PDF with words of its own."""
    import pypdfium2

    rng = random.Random(7)
    found = []
    for row in rows:
        if not row["file"].endswith(".pdf") or not row.get("text_layer"):
            continue
        with pypdfium2.PdfDocument(data / "documents" / row["file"]) as document:
            pages = [page.get_textpage().get_text_bounded() for page in document]
        plain = [" ".join(page.split()) for page in pages]
        for number in rng.sample(range(len(plain)), min(3, len(plain))):
            lines = [line.split() for line in pages[number].splitlines()]
            runs = [
                " ".join(line[at : at + 6])
                for line in lines
                for at in range(len(line) - 5)
                if all(re.fullmatch(r"[A-Za-z]{2,}[.,]?", word) for word in line[at : at + 6])
            ]
            alone = [run for run in runs if sum(run in page for page in plain) == 1]
            if alone:
                found.append((row["file"], rng.choice(alone), number + 1))
    return found


class Asker:
    """Asks one library and keeps score."""

    def __init__(self, engine: SearchEngine, states: dict[str, str | None]) -> None:
        self.engine = engine
        self.states = states
        """{file name: failure's code, or None}"""

    def row(self, kind: str, names: Sequence[str], notes: str = "") -> Row:
        codes = Counter(self.states.get(name, "missing") for name in names)
        failed = ", ".join(f"{n} {code}" for code, n in codes.items() if code)
        return Row(kind, len(names), codes[None], notes="; ".join(x for x in (notes, failed) if x))

    def ask(
        self,
        row: Row,
        asked_by: str,
        questions: Sequence[tuple[str, dict[str, Any]]],
        right: Callable[[int, Hit], bool] | None = None,
    ) -> Row:
        """Each question is (file that answers it, arguments of `search`)."""
        row.asked_by, row.asked = asked_by, len(questions)
        row.right_place = 0 if right else None
        for n, (name, arguments) in enumerate(questions):
            hits = self.engine.search(**{"limit": 10, **arguments}).hits
            ranks = [k for k, hit in enumerate(hits) if name in set(_names(hit))]
            row.first += ranks[:1] == [0]
            row.ten += bool(ranks)
            placed = right is not None and any(right(n, hits[k]) for k in ranks)
            if right is not None:
                row.right_place = (row.right_place or 0) + placed
            if not ranks or (right is not None and not placed):
                row.missed.append(f"{name}: {arguments.get('query') or arguments.get('image')}")
        return row


def _names(hit: Hit) -> Iterator[str]:
    yield Path(hit.source.path).name
    for part in hit.duplicates:
        yield Path(part.source.path).name


def near(seconds: Sequence[float]) -> Callable[[int, Hit], bool]:
    """Whether the hit, or what else speaks for its moment, begins where it should."""

    def right(n: int, hit: Hit) -> bool:
        starts = [hit.segment.place.start, *(part.segment.place.start for part in hit.evidence)]
        return any(start is not None and abs(start - seconds[n]) <= TOLERANCE for start in starts)

    return right


def measure(data: Path, folder: Path) -> list[Row]:
    from indexer import index

    made = folder / "made"
    made.mkdir(exist_ok=True)
    captions = listed(data, "images", "captions")
    people = [row for row in captions if row["caption_kind"] == "human"]
    labels = [row for row in captions if row["caption_kind"] != "human"]
    voiced = make_voiced(made, [data / "images" / row["file"] for row in people[-32:]])
    screens = make_screens(made)
    # The lists themselves would be texts that say what is in every file.
    given = [data / kind / row["file"] for kind, name in LISTS for row in listed(data, kind, name)]
    summary = index([*given, made], folder / "library", profile="nano")
    print(f"{summary.counts}, {summary.seconds:.0f} s", file=sys.stderr)
    with SearchEngine.open(folder / "library") as engine:
        states = {
            Path(source.path).name: source.failure.code if source.failure else None
            for source in engine.library.store.sources.list(limit=1_000_000)
        }
        return ask_all(data, Asker(engine, states), people, labels, voiced, screens)


def ask_all(
    data: Path,
    asker: Asker,
    people: list[dict[str, Any]],
    labels: list[dict[str, Any]],
    voiced: Voiced,
    screens: dict[str, str],
) -> list[Row]:
    table = []
    names = [row["file"] for row in people]
    asks = [(row["file"], {"query": row["captions"][0], "modality": "image"}) for row in people]
    table.append(asker.ask(asker.row("photos, described", names), "a caption, pictures only", asks))
    names = [row["file"] for row in labels]
    asks = [(row["file"], {"query": row["captions"][0], "modality": "image"}) for row in labels]
    table.append(
        asker.ask(asker.row("photos of one thing", names), "its name, pictures only", asks)
    )
    formats = {Path(row["file"]).name: row["file"] for row in listed(data, "images", "formats")}
    names = list(formats)
    asks = [
        (name, {"image": data / "images" / path, "modality": "image"})
        for name, path in formats.items()
        if asker.states.get(name, "missing") is None
    ]
    table.append(asker.ask(asker.row("pictures of many formats", names), "the picture", asks))
    asks = [(name, {"query": words}) for name, words in screens.items()]
    table.append(asker.ask(asker.row("screenshots (made)", list(screens)), "their words", asks))

    documents = listed(data, "documents", "documents")
    pdfs = [row["file"] for row in documents if row["file"].endswith(".pdf")]
    phrases = pdf_phrases(data, documents)
    pages = [page for *_, page in phrases]
    table.append(
        asker.ask(
            asker.row("PDF", pdfs),
            "six words in a row",
            [(name, {"query": f'"{words}"'}) for name, words, _ in phrases],
            lambda n, hit: hit.segment.place.page == pages[n],
        )
    )
    for kind, scanned in (("scans", True), ("other documents", False)):
        some = {
            name: words
            for name, words in READ.items()
            if (name.endswith((".pdf", ".png"))) == scanned
        }
        names = list(some) if scanned else [
            row["file"] for row in documents if not row["file"].endswith((".pdf", ".png"))
        ]  # fmt: skip
        asks = [(name, {"query": words}) for name, words in some.items()]
        table.append(asker.ask(asker.row(kind, names), "words that stand in it", asks))

    names = sorted({name for name, *_ in voiced.recordings})
    table.append(
        asker.ask(
            asker.row("recordings, eSpeak NG", names),
            "a sentence said in it",
            [(name, {"query": words}) for name, words, _ in voiced.recordings],
            near([at for *_, at in voiced.recordings]),
        )
    )
    table.append(heard_nothing(asker, data, "audio", "speech", "recordings of people"))
    table.append(heard_nothing(asker, data, "sounds", "sounds", "sounds"))

    names = sorted({name for name, *_ in voiced.shots})
    table.append(
        asker.ask(
            asker.row("films, eSpeak NG", names),
            "a sentence said in it",
            [(name, {"query": words}) for name, words, _ in voiced.spoken],
            near([at for *_, at in voiced.spoken]),
        )
    )
    table.append(
        asker.ask(
            asker.row("films, eSpeak NG", names),
            "the picture shown, films only",
            [(name, {"image": path, "modality": "video"}) for name, path, _ in voiced.shots],
            near([at for *_, at in voiced.shots]),
        )
    )
    films = listed(data, "video", "video")
    names = [row["file"] for row in films]
    shown = [(row["file"], shot) for row in films for shot in row.get("shots") or ()]
    table.append(
        asker.ask(
            asker.row("films", names),
            "the picture shown, films only",
            [
                (name, {"image": data / "images" / shot["image"], "modality": "video"})
                for name, shot in shown
            ],
            near([shot["start"] for _, shot in shown]),
        )
    )
    subtitled = [
        (row["file"], part)
        for row in films
        for part in row.get("speech_segments") or ()
        if row["subtitles"] and len(part["text"].split()) >= 4
    ]
    table.append(
        asker.ask(
            asker.row("films with subtitles", sorted({name for name, _ in subtitled})),
            "what is said",
            [(name, {"query": " ".join(part["text"].split()[:8])}) for name, part in subtitled],
            near([part["start"] for _, part in subtitled]),
        )
    )
    table.append(
        asker.ask(
            asker.row("films", names),
            "a description, films only",
            [(row["file"], {"query": row["description"][0], "modality": "video"}) for row in films],
        )
    )
    return table


def heard_nothing(asker: Asker, data: Path, folder: str, listing: str, kind: str) -> Row:
    """Decoded, and free of invented words."""
    names = [row["file"] for row in listed(data, folder, listing)]
    invented = 0
    for source in asker.engine.library.store.sources.list(limit=1_000_000):
        if Path(source.path).parent == data / folder:
            invented += any(
                segment.modality is Modality.SPEECH
                and segment.metadata.get("origin") != "subtitles"
                for segment in asker.engine.library.store.segments.of_source(source.id)
            )
    return asker.row(kind, names, f"{invented} with invented words")


def markdown(rows: list[Row]) -> str:
    lines = [
        "| kind | files | taken in | asked by | asked | first | in ten | right place | notes |",
        "|---|---:|---:|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        place = "" if row.right_place is None else str(row.right_place)
        counts = (row.asked, row.first, row.ten) if row.asked else ("", "", "")
        cells = (row.kind, row.files, row.indexed, row.asked_by, *counts, place, row.notes)
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", type=Path, help="a folder to work in, and to ask again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = given.keep or Path(place)
        folder.mkdir(exist_ok=True)
        rows = measure(given.data.resolve(), folder)
    if given.json:
        print(json.dumps([vars(row) for row in rows]))
        return
    from machine import describe_machine

    print(describe_machine() + "\n\n" + markdown(rows))
    for row in rows:
        for missed in row.missed:
            print(f"missed ({row.kind}): {missed}", file=sys.stderr)


if __name__ == "__main__":
    main()
