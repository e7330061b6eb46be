"""The contract of full-text indexes, on SQLite (FTS5) and PostgreSQL (tsvector)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from sqlalchemy import text

from mmsearch.stores.lexical.choice import lexical_index
from mmsearch.stores.rows import SourceWrite
from mmsearch.stores.store import SqlStore
from mmsearch.types import LexicalAnswer, Modality, SegmentDraft, SourceFile, WordUnit

TEXT, IMAGE, SPEECH = Modality.TEXT, Modality.IMAGE, Modality.SPEECH


class Library:
    """A store with words only."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.collection = store.collections.get_or_create("default", "fake").id
        self.index = lexical_index(store.database.engine)

    def add(
        self,
        name: str,
        *texts: str | None,
        modality: Modality = TEXT,
        collection: int | None = None,
        metadata: dict[str, object] | None = None,
    ) -> list[int]:
        """The ids of the new source's segments."""
        write = SourceWrite(
            SourceFile(f"file:///files/{name}", f"/files/{name}", 1, 1),
            name,
            "text/plain",
            "r",
            metadata or {},
            tuple(SegmentDraft(modality, text=text) for text in texts),
        )
        (source,) = self.store.sources.write(collection or self.collection, [write])
        return [segment.id for segment in self.store.segments.of_source(source)]

    def search(self, *units: WordUnit | str, k: int = 10, **options: object) -> LexicalAnswer:
        return self.index.search(
            self.collection,
            [WordUnit((unit,)) if isinstance(unit, str) else unit for unit in units],
            k,
            **options,  # type: ignore[arg-type]
        )

    def ids(self, *units: WordUnit | str, modality: Modality = TEXT) -> list[int]:
        ranking = self.search(*units).rankings.get(modality)
        return ranking.ids.tolist() if ranking else []


@pytest.fixture
def library(store: SqlStore) -> Library:
    return Library(store)


def test_rare_words_weigh_more_than_common_ones(library: Library) -> None:
    """Nine passages have "boat", one has "anchor": the one with "anchor" is first."""
    boats = [library.add(f"n{i}", f"a boat at sea number {i}")[0] for i in range(9)]
    (anchor,) = library.add("m", "an anchor lies on the shore")
    ids = library.ids("boat", "anchor")
    assert ids[0] == anchor
    assert set(ids[1:]) == set(boats)


def test_coverage_is_the_share_of_the_query_that_matches(library: Library) -> None:
    """Everything, half of equally rare words, and words that nobody has."""
    (both,) = library.add("a", "invoice 4711 for paint")
    (half,) = library.add("b", "invoice 1234 for brushes")
    answer = library.search("invoice", "4711")
    ranking = answer.rankings[TEXT]
    assert ranking.ids.tolist() == [both, half]
    assert ranking.shares[0] == 1
    assert 0 < ranking.shares[1] < 0.5
    assert answer.known == 1
    assert library.search("invoice", "zebra").known < 0.5
    assert library.search("zebra") == LexicalAnswer({}, 0.0)


def test_numbers_are_exact(library: Library) -> None:
    """4711 is not 47110, nor 471 1."""
    library.add("a", "invoice 47110", "471 1")
    (right,) = library.add("b", "INVOICE-4711.")
    assert library.ids("4711") == [right]


def test_phrases_and_beginnings(library: Library) -> None:
    """Words side by side; the beginning of a word; both."""
    (right,) = library.add("a", "the old red boat")
    (wrong,) = library.add("b", "red paint for the old boats")
    assert library.ids(WordUnit(("red", "boat"))) == [right]
    assert set(library.ids(WordUnit(("boa",), prefix=True))) == {right, wrong}
    assert library.ids(WordUnit(("old", "boats"))) == [wrong]
    assert set(library.ids(WordUnit(("old", "b"), prefix=True))) == {wrong}
    assert library.index.holding(library.collection, WordUnit(("red",))).tolist() == [right, wrong]


def test_one_of_several_alternatives_is_enough(library: Library) -> None:
    """Words, beginnings and phrases; across passages too. Each counts as the whole unit."""
    (boat,) = library.add("a", "a boat at sea")
    (ships,) = library.add("b", "ships at sea")
    first, _ = library.add("c", "the old rowing", "barge at sea")
    library.add("d", "a car at sea")
    barge = WordUnit(("rowing", "barge"), quoted=True)
    unit = WordUnit(("boat",), alternatives=(WordUnit(("shi",), prefix=True), barge))
    answer = library.search(unit)
    assert set(answer.rankings[TEXT].ids.tolist()) == {boat, ships, first}
    assert answer.rankings[TEXT].shares.tolist() == [1.0, 1.0, 1.0]
    assert answer.known == 1
    assert library.index.holding(library.collection, unit).tolist() == [boat, ships, first]
    assert library.ids(WordUnit(("zebra",), alternatives=(WordUnit(("boat",)),))) == [boat]


def test_a_quoted_phrase_may_cross_from_one_passage_to_the_next(library: Library) -> None:
    """The match is where it begins; never across sources, gaps or the source's name."""
    first, second, third = library.add("a", "we saw the old red", "boat of Anna", "at last")
    library.add("b", "nothing red", "a boat", "boat")
    library.add("red", "boat")
    crossing = WordUnit(("red", "boat", "of"), quoted=True)
    answer = library.search(crossing)
    assert answer.rankings[TEXT].ids.tolist() == [first]
    assert answer.rankings[TEXT].shares.tolist() == [1.0]
    assert answer.known == 1
    assert library.index.holding(library.collection, crossing).tolist() == [first]
    assert library.ids(WordUnit(("red", "boat", "of"))) == []
    assert library.ids(WordUnit(("of", "anna", "at", "l"), prefix=True, quoted=True)) == [second]
    assert library.ids(WordUnit(("old", "red", "at"), quoted=True)) == []
    (whole,) = library.add("c", "the red boat of Anna")
    assert set(library.ids(crossing)) == {first, whole}
    only = {TEXT: np.array([third, whole])}
    assert library.search(crossing, allowed=only).rankings[TEXT].ids.tolist() == [whole]


def test_two_quoted_phrases_are_matched_independently(library: Library) -> None:
    """Both cross at the same place, with different lengths; and one that is nowhere."""
    first, _ = library.add("a", "we saw the old red", "boat of Anna")
    short = WordUnit(("red", "boat"), quoted=True)
    long = WordUnit(("red", "boat", "of", "anna"), quoted=True)
    nowhere = WordUnit(("blue", "boat"), quoted=True)
    for units in ((short, long), (long, short)):
        answer = library.search(*units)
        assert answer.known == 1
        assert answer.rankings[TEXT].ids.tolist() == [first]
        assert answer.rankings[TEXT].shares.tolist() == [1.0]
    assert 0 < library.search(short, nowhere).known < 1


def test_names_are_found_but_never_as_one_phrase_with_the_text(library: Library) -> None:
    """A picture has the words of its file name and its title, at its first segment only."""
    (photo,) = library.add("RedBoat_07.jpg", None, modality=IMAGE, metadata={"title": "Our trip"})
    first, second = library.add("diary.txt", "we rowed", "we rested")
    for word in ("boat", "redboat", "07", "trip"):
        assert library.ids(word, modality=IMAGE) == [photo]
    assert library.ids("diary") == [first]
    assert library.ids(WordUnit(("rowed", "diary"))) == []
    assert library.ids("rested") == [second]


def test_accents_case_and_scripts_without_spaces(library: Library) -> None:
    """Café is cafe; two characters of a Japanese sentence are found, and one."""
    (cafe,) = library.add("a", "Ein CAFÉ in Łódź")
    (tokyo,) = library.add("b", "私は東京都に住んでいます")
    (thai,) = library.add("c", "ภาษาไทย")
    assert library.ids("cafe") == [cafe]
    assert library.ids("lodz") == [cafe]
    assert library.ids("東京") == [tokyo]
    assert library.ids(WordUnit(("東京", "京都"))) == [tokyo]
    assert library.ids(WordUnit(("す",), prefix=True)) == [tokyo]
    assert library.ids("ไท") == [thai]


def test_every_modality_has_its_own_best(library: Library) -> None:
    """A thousand passages do not crowd out the one recording."""
    for n in range(30):
        library.add(f"n{n}", "boat boat boat")
    (said,) = library.add("call.wav", "there was a boat and much else besides", modality=SPEECH)
    rankings = library.search("boat", k=5).rankings
    assert len(rankings[TEXT].ids) == 5
    assert rankings[SPEECH].ids.tolist() == [said]


def test_the_search_is_restricted_to_what_is_allowed(library: Library) -> None:
    """Allowed segments are returned however low they rank; others never."""
    other = library.store.collections.get_or_create("other", "fake").id
    library.add("x", "boat", collection=other)
    many = [library.add(f"n{n}", "boat boat")[0] for n in range(20)]
    (last,) = library.add("last", "a boat, seen from very far away in thick fog")
    library.add("p", "boat", modality=SPEECH)
    allowed = {TEXT: np.array([last, 10**6], np.int64)}
    rankings = library.search("boat", k=3, allowed=allowed).rankings
    assert {m: r.ids.tolist() for m, r in rankings.items()} == {TEXT: [last]}
    assert set(library.ids("boat")) <= {*many, last}
    assert library.search("boat", allowed={TEXT: np.empty(0, np.int64)}).rankings == {}


def test_deleting_renaming_and_replacing_take_effect_at_once(library: Library) -> None:
    """Full text is part of the transaction."""
    (old,) = library.add("one.txt", "boat")
    source = library.store.segments.get(old).source_id
    file = SourceFile("file:///files/AnchorPlan.txt", "/files/AnchorPlan.txt", 1, 1)
    library.store.sources.move(source, file)
    assert library.ids("anchor") == [old]
    assert library.ids("one") == []
    (new,) = library.add("AnchorPlan.txt", "ship")
    assert library.ids("boat") == []
    assert library.ids("ship") == [new]
    library.store.sources.delete([source])
    assert library.ids("ship") == []
    assert library.search("ship").known == 0


def test_negative_units_push_down(library: Library) -> None:
    """Segments with a negative unit rank lower, or are not returned."""
    (plain,) = library.add("a", "a boat")
    (peopled,) = library.add("b", "a boat with people boat boat")
    assert library.ids("boat")[0] == peopled
    away = WordUnit(("people",), weight=-0.5)
    assert library.ids("boat", away)[0] == plain
    assert library.ids(away) == []


@pytest.mark.parametrize(
    "tokens",
    [("and",), ("or",), ("not", "near"), ("boat", "and", "boat"), ("null",), ("a" * 64,)],
)
def test_words_that_are_syntax_elsewhere_are_words(library: Library, tokens: Sequence[str]) -> None:
    """Operators of FTS5 and tsquery mean nothing in a token."""
    library.add("a", "boat or ship")
    (right,) = library.add("b", " ".join(tokens))
    unit = WordUnit(tuple(tokens))
    assert right in library.ids(unit)
    assert library.search(unit).known == 1


def test_words_that_are_everywhere_order_what_rarer_ones_find(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Common words alone still find something; beside rarer ones they only help."""
    monkeypatch.setattr("mmsearch.stores.lexical.index.MIN_BUDGET", 3)
    common = [library.add(f"n{n}", f"the boat number {n}")[0] for n in range(12)]
    assert set(library.ids("the", "boat")) <= set(common)
    (rare,) = library.add("m", "the anchor")
    (bare,) = library.add("o", "anchor")
    assert library.ids("the", "anchor") == [rare, bare]


def test_words_can_be_rewritten(library: Library) -> None:
    """The results are the same afterwards; a damaged index is reported before."""
    (boat,) = library.add("RedBoat.txt", "at sea")
    assert library.index.problems() == []
    with library.store.database.engine.connect() as connection:
        connection.execute(text("DELETE FROM segment_words"))
        if connection.dialect.name == "sqlite":
            connection.execute(
                text("INSERT INTO segment_fts (rowid, words) VALUES (:id, 'ghost')"), {"id": boat}
            )
        connection.commit()
    assert library.ids("boat") == []
    if library.store.dialect.name == "sqlite":
        assert library.index.problems() != []
    library.store.sources.rewrite_words()
    assert library.ids("boat") == [boat]
    assert library.index.problems() == []
