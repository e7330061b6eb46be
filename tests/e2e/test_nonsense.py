"""A query without an answer gets none, and one with an answer keeps it, at default settings.

Nothing here was used to tune anything: other scenes, other words and other gibberish than
`mmsearch/search/scoring/background.py` and `benchmarks/calibration.py` have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexer import index
from mmsearch import SearchEngine
from mmsearch.demo.picturebook import captions, words, write_library
from mmsearch.query import Query, SearchResult, Term
from mmsearch.search.scoring.background import BACKGROUND

SEED = 4711
PICTURES = 90

WORDS = """
abacus aorta asbestos axiom ballast barcode bayonet bishop bookkeeper bronchitis broker bursar
caliper carbon catalyst census chisel cipher clinic coupon crankshaft cubism curfew debenture
diode dogma dynasty ellipse enzyme euro exorcism fiscal flute forceps freight fuselage galaxy
genome glucose grammar guillotine hernia hydraulics hypothesis icon impeach integral ion jazz
kiln ledger leukemia libel litmus logarithm magistrate malaria manuscript membrane molecule
motherboard nickel notary nozzle oath octane offset orbit oxide pancreas parole pension piston
pixel plumbing pope prosecutor protein psalm pulley quantum quota radar rebate rectangle resin
retina rhetoric rubric serum shilling sinus sociology sonnet spreadsheet stanza stethoscope
subsidy sulphur syllable thesis tibia torque trigonometry tuberculosis tungsten ulcer uranium
valve velocity vowel warrant wavelength wrench xylophone yeast zinc
"""
UNRELATED = frozenset(WORDS.split())


def nonsense(rng: np.random.Generator) -> str:
    """Keyboard mash, made-up words, or one to four real words of other worlds."""
    kind = rng.integers(3)
    if kind == 0:
        sizes = rng.integers(4, 10, size=rng.integers(1, 4))
        return " ".join("".join(rng.choice(list("qwertyuiopasdfghjklzxcvbnm"), n)) for n in sizes)
    if kind == 1:
        syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "or", "en")]
        sizes = rng.integers(2, 5, size=rng.integers(1, 4))
        return " ".join("".join(rng.choice(syllables, n)) for n in sizes)
    return " ".join(rng.choice(sorted(UNRELATED), rng.integers(1, 5), replace=False))


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SearchEngine, list[Query]]]:
    """A drawn library with real nano models, and a query for each of its pictures."""
    place = tmp_path_factory.mktemp("book")
    entries = write_library(place / "files", PICTURES, SEED, size=224)
    index(place / "files", place / "library", profile="nano")
    asked = [Query((Term(text=captions(one.story.scene)[-2]),), limit=10) for one in entries]
    with SearchEngine.open(place / "library") as engine:
        yield engine, asked


def answers(engine: SearchEngine, queries: list[Query]) -> list[SearchResult]:
    found = engine.search_many(queries)
    assert all(isinstance(one, SearchResult) for one in found)
    return [one for one in found if isinstance(one, SearchResult)]


def test_the_words_here_are_nobody_elses() -> None:
    """Neither what calibration asks nor what the pictures show."""
    asked = {word for text in BACKGROUND for word in text.lower().split()}
    assert not asked & UNRELATED
    assert not words() & UNRELATED


def test_nonsense_has_no_answer(book: tuple[SearchEngine, list[Query]]) -> None:
    """At least 90 of 100 nonsense queries return nothing at all."""
    engine, _ = book
    rng = np.random.default_rng(SEED)
    asked = [Query((Term(text=nonsense(rng)),)) for _ in range(100)]
    found = answers(engine, asked)
    answered = [one.query.terms[0].text for one in found if one.hits]
    print(f"nonsense answered: {len(answered)} of 100: {answered}")
    assert len(answered) <= 10


def test_what_can_be_answered_keeps_its_answer(book: tuple[SearchEngine, list[Query]]) -> None:
    """Of the pictures that a query finds among ten, at least 95 % are still there."""
    engine, asked = book
    uncut = answers(engine, [replace(one, min_score=0.0) for one in asked])
    cut = answers(engine, asked)
    expected = [f"{n:03d}-" for n in range(1, len(asked) + 1)]
    there = kept = 0
    for name, before, after in zip(expected, uncut, cut, strict=True):
        if any(Path(hit.source.path).name.startswith(name) for hit in before.hits):
            there += 1
            kept += any(Path(hit.source.path).name.startswith(name) for hit in after.hits)
    print(f"answers found among ten: {there} of {len(asked)}; kept at default cuts: {kept}")
    assert there >= len(asked) / 2
    assert kept >= 0.95 * there
