"""Makes the data sets of the ranking evaluation, the same bytes every time.

    python benchmarks/ranking/data.py --out FOLDER --part test --data SHARED_DATA

Each is a .jsonl that `mmsearch eval` reads, with its files beside it. Two parts, of other scenes
and other seeds: `dev` to tune weights and choose defaults on, `test` to report. Never tune on
`test`. Real photos and recordings are not part of this repository: `--data` names a folder with
`images/captions.jsonl`, `flickr8k128/` and `audio/speech.jsonl`; without it those are left out.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import records
import speech
import wanted
from PIL import Image

from mmsearch.demo.picturebook import Scene, draw, sample_scenes, stories
from mmsearch.demo.picturebook.lexicon import STYLES
from mmsearch.demo.picturebook.rivals import gallery

SEEDS = {"dev": 5_100, "test": 9_100}
SIZE = 384
PICTURES, PER_LEVEL = 200, 40
RELATIONAL = 60
PHOTOS = 160
NOTES, RECORDS = 120, 100
MEMOS = 40
MIXED = 120
STORIES = 80
OTHERWISE = 24


@dataclass
class Set:
    """A data set being made: rows of its .jsonl and the folder of its files."""

    name: str
    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0

    def text(self, name: str, content: str) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n", "utf-8")
        self.rows.append({"item": name})
        return name

    def picture(self, name: str, image: Image.Image, *, item: bool = True) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=90, subsampling=0)
        if item:
            self.rows.append({"item": name})
        return name

    def memo(self, name: str, content: str, seed: int, *, item: bool = True) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            speech.speak(content, path, seed)
        if item:
            self.rows.append({"item": name})
        return name

    def query(self, relevant: list[str] | dict[str, int], *tags: str, **terms: str) -> None:
        if relevant:
            self.asked += 1
            self.rows.append(
                {"query": f"q{self.asked:04d}", **terms, "relevant": relevant, "tags": list(tags)}
            )

    def write(self) -> None:
        path = self.folder / f"{self.name}.jsonl"
        lines = [json.dumps(row, ensure_ascii=False) for row in self.rows]
        path.write_text("\n".join(lines) + "\n", "utf-8")
        print(f"{self.name}: {self.asked} queries -> {path}")


def pictures(made: Set, seed: int) -> None:
    """Drawn scenes, asked for from three words to a whole sentence."""
    scenes = sample_scenes("test", PICTURES, seed)
    names = [
        made.picture(f"pictures/{n:04d}.jpg", draw(scene, SIZE)) for n, scene in enumerate(scenes)
    ]
    for level in wanted.LEVELS:
        for _, one in wanted.asked(scenes, level, PER_LEVEL, seed):
            right = [name for name, s in zip(names, scenes, strict=True) if one.shown_by(s)]
            made.query(right, level, text=one.text)


def relational(made: Set, seed: int) -> None:
    """Pictures that only their arrangement tells apart."""
    scenes, captions = gallery(RELATIONAL, seed)
    names = [
        made.picture(f"pictures/{n:04d}.jpg", draw(scene, SIZE)) for n, scene in enumerate(scenes)
    ]
    for text, target in captions:
        made.query([names[target]], text=text)


def photos(made: Set, seed: int, data: Path, part: str, *tags: str, captions: int = 2) -> None:
    """Real photos, asked for by some human captions each.

    test: photos in their own size; dev: other photos of the same collection, small.
    """
    listing = data / "images" / "captions.jsonl"
    rows = [json.loads(line) for line in listing.read_text("utf-8").splitlines()]
    rows = [row for row in rows if row["caption_kind"] == "human"]
    taken = {row["file"].removeprefix("flickr8k_").partition(".")[0] for row in rows}
    rng = np.random.default_rng([seed, 31])
    if part == "test":
        chosen = [(row, Image.open(listing.parent / row["file"]).convert("RGB")) for row in rows][
            :PHOTOS
        ]
    else:
        small = data / "flickr8k128"
        with tarfile.open(small / "test.tar") as tar:
            others = [
                row
                for row in map(json.loads, (small / "test.jsonl").read_text("utf-8").splitlines())
                if row["file"].partition(".")[0] not in taken
            ][:PHOTOS]
            chosen = []
            for row in others:
                member = tar.extractfile(row["file"])
                assert member is not None
                image = Image.open(io.BytesIO(member.read())).convert("RGB")
                chosen.append((row, image))
    for number, (row, image) in enumerate(chosen):
        name = made.picture(f"photos/{number:04d}.jpg", image)
        for caption in rng.permutation(len(row["captions"]))[:captions]:
            made.query([name], *tags, text=row["captions"][int(caption)])


def texts(made: Set, seed: int) -> None:
    """Notes told in other words than they are asked for, and records asked for by their words."""
    told = stories(NOTES, seed, "test")
    scenes = [story.scene for story in told]
    notes = [made.text(f"notes/{n:04d}.txt", story.note) for n, story in enumerate(told)]
    for level in ("object", "relation"):
        for _, one in wanted.asked(scenes, level, PER_LEVEL, seed):
            right = [name for name, s in zip(notes, scenes, strict=True) if one.told_by(s)]
            made.query(right, "told", text=one.text)
    written(made, seed)


def written(made: Set, seed: int) -> None:
    """Records, asked for by the words that name them, by a name, and by what they are about."""
    kept = records.records(RECORDS, seed)
    files = [made.text(f"records/{n:04d}.txt", one.text) for n, one in enumerate(kept)]
    for name, one in list(zip(files, kept, strict=True))[:PER_LEVEL]:
        made.query([name], "typed words", text=one.words)
    for family in dict.fromkeys(one.name for one in kept):
        right = [name for name, one in zip(files, kept, strict=True) if one.name == family]
        made.query(right, "typed names", text=family)
    for about in list(dict.fromkeys(one.about for one in kept))[:PER_LEVEL]:
        right = [name for name, one in zip(files, kept, strict=True) if one.about == about]
        made.query(right, "about", text=about)


def spoken(made: Set, seed: int, data: Path | None) -> None:
    """Memos as nano-whisper hears them, among the transcripts of real recordings."""
    told = stories(MEMOS, seed + 1, "test")
    scenes = [story.scene for story in told]
    names = [made.memo(f"memos/{n:04d}.wav", story.memo, seed + n) for n, story in enumerate(told)]
    for _, one in wanted.asked(scenes, "object", MEMOS, seed):
        right = [name for name, s in zip(names, scenes, strict=True) if one.told_by(s)]
        made.query(right, "synthetic", text=one.text)
    if data is not None:
        recorded(made, seed, data)


def recorded(made: Set, seed: int, data: Path) -> None:
    """The transcripts of real recordings, asked for by questions and by words said in them."""
    real = speech.real_recordings(data, made.folder / "recordings")
    made.rows += [{"item": f"recordings/{name}.txt"} for name, _ in real]
    for name, question in speech.QUESTIONS.items():
        if name in dict(real):
            made.query([f"recordings/{name}.txt"], "real, asked about", text=question)
    for name, quote in speech.quotes(real, seed):
        made.query([f"recordings/{name}.txt"], "real, quoted", text=quote)


Kept = list[tuple[Scene, dict[str, str]]]
"""Scenes, and the files kept of each by kind."""


def mixed(made: Set, seed: int) -> Kept:
    """Stories of which a picture, a note, a memo or several were kept; answers are of all kinds."""
    kept = _kept(made, seed, np.random.default_rng([seed, 37]))
    _ask(made, kept, MIXED, seed, least=2)
    return kept


def _kept(made: Set, seed: int, rng: np.random.Generator) -> Kept:
    kept: Kept = []
    for n, story in enumerate(stories(MIXED, seed + 2, "test")):
        has = rng.random(3) < (0.7, 0.55, 0.4)
        has[int(rng.integers(3))] = True
        files: dict[str, str] = {}
        if has[0]:
            files["picture"] = made.picture(f"pictures/{n:04d}.jpg", draw(story.scene, SIZE))
        if has[1]:
            files["note"] = made.text(f"notes/{n:04d}.txt", story.note)
        if has[2]:
            files["memo"] = made.memo(f"memos/{n:04d}.wav", story.memo, seed + 7 * n)
        kept.append((story.scene, files))
    return kept


def _ask(made: Set, kept: Kept, n: int, seed: int, *tags: str, least: int = 1) -> None:
    """n queries a level; `least`: how many kinds of answers a query has to have."""
    scenes = [scene for scene, _ in kept]
    for level in ("object", "place"):
        for _, one in wanted.asked(scenes, level, n, seed):
            right: list[str] = []
            kinds: set[str] = set()
            for scene, files in kept:
                for kind, name in files.items():
                    if one.shown_by(scene) if kind == "picture" else one.told_by(scene):
                        right.append(name)
                        kinds.add(kind)
            if len(kinds) >= least:
                made.query(right, *(tags or (level,)), text=one.text)


def everything(made: Set, seed: int, data: Path, part: str) -> None:
    """Photos, drawn pictures, notes, memos, records and recordings together, as a library is.

    Asked for as each of them is; what answers a query may be of one kind or of several.
    """
    photos(made, seed + 6, data, part, "photos", captions=1)
    _ask(made, _kept(made, seed + 6, np.random.default_rng([seed, 47])), STORIES, seed, "stories")
    written(made, seed + 8)
    recorded(made, seed + 8, data)


def otherwise(made: Set, seed: int, found: Kept) -> None:
    """The mixed set's files, asked for by a picture in another style, and by voice."""
    kept = [(scene, list(files.values())) for scene, files in found]
    made.rows += [{"item": name} for _, names in kept for name in names]
    rng = np.random.default_rng([seed, 43])
    scenes = [scene for scene, _ in kept]
    several = [n for n, (_, names) in enumerate(kept) if len(names) > 1][:OTHERWISE]
    for n in several:
        others = [style for style in STYLES if style != scenes[n].style]
        again = replace(scenes[n], style=others[int(rng.integers(len(others)))])
        look = made.picture(f"looks/{n:04d}.jpg", draw(again, SIZE), item=False)
        made.query(kept[n][1], "by picture", image=look)
    for number, (_, one) in enumerate(wanted.asked(scenes, "object", OTHERWISE, seed + 3)):
        right = [name for scene, names in kept if one.told_by(scene) for name in names]
        if right:
            said = f"asked/{number:04d}.wav"
            made.memo(said, f"{one.text}.", seed + 11 * number, item=False)
            made.query(right, "by voice", audio=said)


def make(out: Path, part: str, data: Path | None, only: list[str]) -> None:
    seed = SEEDS[part]

    def begin(name: str, folder: str | None = None) -> Set:
        return Set(name, out / part / (folder or name))

    sets: list[Set] = []
    if "pictures" in only:
        pictures(one := begin("pictures"), seed)
        sets.append(one)
    if "relational" in only:
        relational(one := begin("relational"), seed + 4)
        sets.append(one)
    if "photos" in only and data is not None:
        photos(one := begin("photos"), seed, data, part)
        sets.append(one)
    if "texts" in only:
        texts(one := begin("texts"), seed)
        sets.append(one)
    if "speech" in only:
        spoken(one := begin("speech"), seed, data)
        sets.append(one)
    if "mixed" in only:
        kept = mixed(one := begin("mixed"), seed)
        sets.append(one)
        otherwise(one := begin("otherwise", "mixed"), seed, kept)
        sets.append(one)
    if "everything" in only and data is not None:
        everything(one := begin("everything"), seed, data, part)
        sets.append(one)
    for one in sets:
        one.write()


SETS = ("pictures", "relational", "photos", "texts", "speech", "mixed", "everything")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", choices=tuple(SEEDS), default="test")
    parser.add_argument("--data", type=Path, default=None, help="real photos and recordings")
    parser.add_argument("--only", nargs="*", choices=SETS, default=list(SETS))
    arguments = parser.parse_args()
    make(arguments.out, arguments.part, arguments.data, arguments.only)


if __name__ == "__main__":
    main()
