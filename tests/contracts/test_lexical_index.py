"""What every full-text index promises, on SQLite (FTS5) and PostgreSQL (tsvector) alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from sqlalchemy import text

from mmsearch.stores.lexical.index import lexical_index
from mmsearch.stores.rows import SourceWrite
from mmsearch.stores.sql import SqlStore
from mmsearch.types import LexicalAnswer, Modality, SegmentDraft, SourceFile, WordUnit

TEXT, IMAGE, SPEECH = Modality.TEXT, Modality.IMAGE, Modality.SPEECH


class Library:
    """A store that is filled with words only."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.collection = store.ensure_collection("default", "fake").id
        self.index = lexical_index(store.engine)

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
        (source,) = self.store.write_sources(collection or self.collection, [write])
        return [one.id for one in self.store.segments_of(source)]

    def ask(self, *units: WordUnit | str, k: int = 10, **given: object) -> LexicalAnswer:
        return self.index.search(
            self.collection,
            [WordUnit((one,)) if isinstance(one, str) else one for one in units],
            k,
            **given,  # type: ignore[arg-type]
        )

    def found(self, *units: WordUnit | str, modality: Modality = TEXT) -> list[int]:
        ranking = self.ask(*units).rankings.get(modality)
        return ranking.ids.tolist() if ranking else []


@pytest.fixture
def library(store: SqlStore) -> Library:
    return Library(store)


def test_rare_words_weigh_more_than_common_ones(library: Library) -> None:
    """Nine talk of boats, one of an anchor: the anchor decides."""
    boats = [library.add(f"n{i}", f"a boat at sea number {i}")[0] for i in range(9)]
    (anchor,) = library.add("m", "an anchor lies on the shore")
    found = library.found("boat", "anchor")
    assert found[0] == anchor
    assert set(found[1:]) == set(boats)


def test_a_share_tells_how_much_of_the_query_is_there(library: Library) -> None:
    """Everything, half of equally rare words, and words that nobody has."""
    (both,) = library.add("a", "invoice 4711 for paint")
    (half,) = library.add("b", "invoice 1234 for brushes")
    answer = library.ask("invoice", "4711")
    ranking = answer.rankings[TEXT]
    assert ranking.ids.tolist() == [both, half]
    assert ranking.shares[0] == 1
    assert 0 < ranking.shares[1] < 0.5
    assert answer.known == 1
    assert library.ask("invoice", "zebra").known < 0.5
    assert library.ask("zebra") == LexicalAnswer({}, 0.0)


def test_numbers_are_exact(library: Library) -> None:
    """4711 is not 47110, nor 471 1."""
    library.add("a", "invoice 47110", "471 1")
    (right,) = library.add("b", "INVOICE-4711.")
    assert library.found("4711") == [right]


def test_phrases_and_beginnings(library: Library) -> None:
    """Words side by side; the beginning of a word; both."""
    (right,) = library.add("a", "the old red boat")
    (wrong,) = library.add("b", "red paint for the old boats")
    assert library.found(WordUnit(("red", "boat"))) == [right]
    assert set(library.found(WordUnit(("boa",), prefix=True))) == {right, wrong}
    assert library.found(WordUnit(("old", "boats"))) == [wrong]
    assert set(library.found(WordUnit(("old", "b"), prefix=True))) == {wrong}
    assert library.index.holding(library.collection, WordUnit(("red",))).tolist() == [right, wrong]


def test_a_quoted_phrase_may_cross_from_one_passage_to_the_next(library: Library) -> None:
    """It is found where it begins; not across sources, gaps or what the source is called."""
    first, second, third = library.add("a", "we saw the old red", "boat of Anna", "at last")
    library.add("b", "nothing red", "a boat", "boat")
    library.add("red", "boat")
    crossing = WordUnit(("red", "boat", "of"), quoted=True)
    answer = library.ask(crossing)
    assert answer.rankings[TEXT].ids.tolist() == [first]
    assert answer.rankings[TEXT].shares.tolist() == [1.0]
    assert answer.known == 1
    assert library.index.holding(library.collection, crossing).tolist() == [first]
    assert library.found(WordUnit(("red", "boat", "of"))) == []
    assert library.found(WordUnit(("of", "anna", "at", "l"), prefix=True, quoted=True)) == [second]
    assert library.found(WordUnit(("old", "red", "at"), quoted=True)) == []
    (whole,) = library.add("c", "the red boat of Anna")
    assert set(library.found(crossing)) == {first, whole}
    only = {TEXT: np.array([third, whole])}
    assert library.ask(crossing, allowed=only).rankings[TEXT].ids.tolist() == [whole]


def test_of_two_quoted_phrases_each_is_known_for_itself(library: Library) -> None:
    """Both over one seam, of different lengths; and one of them nowhere."""
    first, _ = library.add("a", "we saw the old red", "boat of Anna")
    short = WordUnit(("red", "boat"), quoted=True)
    long = WordUnit(("red", "boat", "of", "anna"), quoted=True)
    nowhere = WordUnit(("blue", "boat"), quoted=True)
    for units in ((short, long), (long, short)):
        answer = library.ask(*units)
        assert answer.known == 1
        assert answer.rankings[TEXT].ids.tolist() == [first]
        assert answer.rankings[TEXT].shares.tolist() == [1.0]
    assert 0 < library.ask(short, nowhere).known < 1


def test_names_are_found_but_never_as_one_phrase_with_the_text(library: Library) -> None:
    """A picture has the words of its file name and its title, at its first segment only."""
    (photo,) = library.add("RedBoat_07.jpg", None, modality=IMAGE, metadata={"title": "Our trip"})
    first, second = library.add("diary.txt", "we rowed", "we rested")
    for word in ("boat", "redboat", "07", "trip"):
        assert library.found(word, modality=IMAGE) == [photo]
    assert library.found("diary") == [first]
    assert library.found(WordUnit(("rowed", "diary"))) == []
    assert library.found("rested") == [second]


def test_accents_case_and_scripts_without_spaces(library: Library) -> None:
    """Café is cafe; two characters of a Japanese sentence are found, and one."""
    (cafe,) = library.add("a", "Ein CAFÉ in Łódź")
    (tokyo,) = library.add("b", "私は東京都に住んでいます")
    (thai,) = library.add("c", "ภาษาไทย")
    assert library.found("cafe") == [cafe]
    assert library.found("lodz") == [cafe]
    assert library.found("東京") == [tokyo]
    assert library.found(WordUnit(("東京", "京都"))) == [tokyo]
    assert library.found(WordUnit(("す",), prefix=True)) == [tokyo]
    assert library.found("ไท") == [thai]


def test_every_modality_has_its_own_best(library: Library) -> None:
    """A thousand passages do not crowd out the one recording."""
    for n in range(30):
        library.add(f"n{n}", "boat boat boat")
    (said,) = library.add("call.wav", "there was a boat and much else besides", modality=SPEECH)
    rankings = library.ask("boat", k=5).rankings
    assert len(rankings[TEXT].ids) == 5
    assert rankings[SPEECH].ids.tolist() == [said]


def test_the_search_is_restricted_to_what_is_allowed(library: Library) -> None:
    """However low they rank; other modalities and collections stay out."""
    other = library.store.ensure_collection("other", "fake").id
    library.add("x", "boat", collection=other)
    many = [library.add(f"n{n}", "boat boat")[0] for n in range(20)]
    (last,) = library.add("last", "a boat, seen from very far away in thick fog")
    library.add("p", "boat", modality=SPEECH)
    allowed = {TEXT: np.array([last, 10**6], np.int64)}
    rankings = library.ask("boat", k=3, allowed=allowed).rankings
    assert {m: r.ids.tolist() for m, r in rankings.items()} == {TEXT: [last]}
    assert set(library.found("boat")) <= {*many, last}
    assert library.ask("boat", allowed={TEXT: np.empty(0, np.int64)}).rankings == {}


def test_what_is_deleted_renamed_or_replaced_is_so_at_once(library: Library) -> None:
    """Full text is part of the transaction."""
    (old,) = library.add("one.txt", "boat")
    source = library.store.segment(old).source_id
    file = SourceFile("file:///files/AnchorPlan.txt", "/files/AnchorPlan.txt", 1, 1)
    library.store.move_source(source, file)
    assert library.found("anchor") == [old]
    assert library.found("one") == []
    (new,) = library.add("AnchorPlan.txt", "ship")
    assert library.found("boat") == []
    assert library.found("ship") == [new]
    library.store.delete_sources([source])
    assert library.found("ship") == []
    assert library.ask("ship").known == 0


def test_negative_units_push_down(library: Library) -> None:
    """What holds them comes later, or not at all."""
    (plain,) = library.add("a", "a boat")
    (peopled,) = library.add("b", "a boat with people boat boat")
    assert library.found("boat")[0] == peopled
    away = WordUnit(("people",), weight=-0.5)
    assert library.found("boat", away)[0] == plain
    assert library.found(away) == []


@pytest.mark.parametrize(
    "tokens",
    [("and",), ("or",), ("not", "near"), ("boat", "and", "boat"), ("null",), ("a" * 64,)],
)
def test_words_that_are_syntax_elsewhere_are_words(library: Library, tokens: Sequence[str]) -> None:
    """Operators of FTS5 and tsquery mean nothing in a token."""
    library.add("a", "boat or ship")
    (right,) = library.add("b", " ".join(tokens))
    unit = WordUnit(tuple(tokens))
    assert right in library.found(unit)
    assert library.ask(unit).known == 1


def test_words_that_are_everywhere_order_what_rarer_ones_find(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Common words alone still find something; beside rarer ones they only help."""
    monkeypatch.setattr("mmsearch.stores.lexical.index.MIN_BUDGET", 3)
    common = [library.add(f"n{n}", f"the boat number {n}")[0] for n in range(12)]
    assert set(library.found("the", "boat")) <= set(common)
    (rare,) = library.add("m", "the anchor")
    (bare,) = library.add("o", "anchor")
    assert library.found("the", "anchor") == [rare, bare]


def test_words_can_be_cut_again(library: Library) -> None:
    """What is found afterwards is what was found before; a damaged index is noticed."""
    (boat,) = library.add("RedBoat.txt", "at sea")
    assert library.index.problems() == []
    with library.store.engine.connect() as connection:
        connection.execute(text("DELETE FROM segment_words"))
        if connection.dialect.name == "sqlite":
            connection.execute(
                text("INSERT INTO segment_fts (rowid, words) VALUES (:id, 'ghost')"), {"id": boat}
            )
        connection.commit()
    assert library.found("boat") == []
    if library.store.engine.dialect.name == "sqlite":
        assert library.index.problems() != []
    library.store.rewrite_words()
    assert library.found("boat") == [boat]
    assert library.index.problems() == []


def test_a_collection_has_weights_of_its_own(library: Library) -> None:
    """They stay beside whatever else is set for it."""
    library.store.set_weights(library.collection, {"lexical": 0.5})
    assert library.store.collection().weights == (("lexical", 0.5),)
    library.store.set_weights(library.collection, {})
    assert library.store.collection().weights == ()
