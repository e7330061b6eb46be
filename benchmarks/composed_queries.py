"""What negative and composed queries gain by the rules of `mmsearch.search.compose`.

    python benchmarks/composed_queries.py [--scenes 700]

On pictures of the picture book that no model was trained on, with nano-clip and exact search:
"A, not B" (relevant: shows A and not B; pairs that do occur together) and "this picture, but
at night" (relevant: the same kind of thing, with that). nDCG@10, means over all queries.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from mmsearch.demo.picturebook.captions import describe
from mmsearch.demo.picturebook.draw import draw
from mmsearch.demo.picturebook.lexicon import COLOURS, KINDS, OBJECTS, PLACES
from mmsearch.demo.picturebook.scene import Scene, sample_scenes
from mmsearch.models.clip import openclip
from mmsearch.models.profiles import profile
from mmsearch.models.runtime import Runtime
from mmsearch.search.compose import SAMPLE, WeightedVector, compose
from mmsearch.settings_loading import load_settings

Floats = npt.NDArray[np.float32]
Truths = dict[str, npt.NDArray[np.bool_]]

DISCOUNT = 1 / np.log2(np.arange(2, 12))
SEED = 977
MOST = 1200


def truths(scenes: Sequence[Scene]) -> Truths:
    """Phrases, and of which scenes each is true."""
    found: Truths = {}

    def add(text: str, holds: Callable[[Scene], bool]) -> None:
        found[text] = np.array([holds(scene) for scene in scenes])

    for kind in OBJECTS:
        add(describe(kind.name), lambda s, k=kind: any(g.kind == k.name for g in s.groups))
    for place in PLACES:
        add(place.phrase, lambda s, p=place: s.place == p.name)
    for time in ("night", "sunset"):
        add(f"at {time}", lambda s, t=time: s.time == t)
    for weather in ("snow", "rain", "fog"):
        add(f"in the {weather}", lambda s, w=weather: s.weather == w)
    for colour in COLOURS:
        add(f"something {colour}", lambda s, c=colour: any(g.colour == c for g in s.groups))
    for name, category in (("people", "person"), ("animals", "animal")):
        add(
            name,
            lambda s, c=category: any(KINDS[g.kind].category == c for g in s.groups),
        )
    return found


def ndcg(scores: Floats, relevant: npt.NDArray[np.bool_]) -> float:
    """nDCG@10 of one ranking, binary relevance."""
    best = np.argsort(-scores)[:10]
    return float((relevant[best] * DISCOUNT).sum() / DISCOUNT[: min(10, relevant.sum())].sum())


def unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=700)
    scenes = sample_scenes("test", parser.parse_args().scenes, SEED)
    model = openclip.from_spec(profile("nano").clip, Runtime.from_settings(load_settings()))
    pictures = np.concatenate(
        [
            model.encode_images([draw(scene, 160) for scene in scenes[i : i + 50]])
            for i in range(0, len(scenes), 50)
        ]
    )
    true = truths(scenes)
    words = dict(zip(true, model.encode_texts(list(true), "query"), strict=True))
    sample = pictures[np.random.default_rng(0).permutation(len(pictures))[:SAMPLE]]

    def rule(parts: Sequence[WeightedVector]) -> Floats:
        spreads = [float((sample @ part.vector).std()) for part in parts]
        same = len({part.kind for part in parts}) == 1
        direction = compose(parts, [1.0] * len(parts) if same else spreads)
        assert direction is not None
        return direction

    rng = np.random.default_rng(0)
    pairs = [
        (a, b)
        for a in true
        for b in true
        if a != b
        and (true[a] & true[b]).sum() >= max(4, 0.1 * true[a].sum())
        and (true[a] & ~true[b]).sum() >= 5
    ]
    pairs = [pairs[i] for i in rng.permutation(len(pairs))[:MOST]]
    print(f"{platform.processor() or platform.machine()}, {len(scenes)} pictures")
    print(f"\n'A, not B', {len(pairs)} queries        nDCG@10   B among the first 10")
    ways: dict[str, Callable[[str, str], Floats]] = {"B ignored": lambda a, _b: words[a]}
    for weight in (0.5, 1.0, 2.0, 3.0):
        ways[f"subtracted, weight {weight}"] = lambda a, b, w=weight: unit(words[a] - w * words[b])
    for weight in (0.5, 1.0, 2.0, 3.0):
        ways[f"our rule, weight {weight}"] = lambda a, b, w=weight: rule(
            [WeightedVector(words[a], 1.0, "text"), WeightedVector(words[b], -w, "text")]
        )
    for name, way in ways.items():
        gains, wrong = [], []
        for a, b in pairs:
            scores = pictures @ way(a, b)
            gains.append(ndcg(scores, true[a] & ~true[b]))
            wrong.append(true[b][np.argsort(-scores)[:10]].mean())
        print(f"  {name:28} {np.mean(gains):8.3f} {np.mean(wrong):12.3f}")

    changes = [t for t in true if t.startswith(("at ", "in ", "on ", "by "))]
    asked = []
    for text in changes:
        for i, scene in enumerate(scenes):
            relevant = true[describe(scene.groups[0].kind)] & true[text]
            if not true[text][i] and relevant.sum() >= 2:
                asked.append((i, text, relevant))
    asked = [asked[i] for i in rng.permutation(len(asked))[:MOST]]
    print(f"\n'this picture, but …', {len(asked)} queries     nDCG@10")
    mixes: dict[str, Callable[[int, str], Floats]] = {
        "the picture alone": lambda i, _t: pictures[i],
        "the words alone": lambda _i, t: words[t],
        "plain sum of vectors": lambda i, t: unit(pictures[i] + words[t]),
        "our rule": lambda i, t: rule(
            [WeightedVector(pictures[i], 1.0, "image"), WeightedVector(words[t], 1.0, "text")]
        ),
    }
    for name, mix in mixes.items():
        gains = []
        for i, text, relevant in asked:
            scores = pictures @ mix(i, text)
            scores[i] = -2.0  # the example itself does not come back
            gains.append(ndcg(scores, relevant))
        print(f"  {name:28} {np.mean(gains):8.3f}")


if __name__ == "__main__":
    main()
