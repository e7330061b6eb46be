"""A query's forms (Python, JSON) are one query, and errors name the field that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.errors import MediaError, MMSearchError
from mmsearch.query import Facet, Query, SortKey, Term
from mmsearch.search.parse.compact import terms_of
from mmsearch.search.parse.json_form import FOLD_COSINE, query_from_json, query_to_json
from mmsearch.search.parse.request import SearchRequest
from mmsearch.types import Modality

WEIGHTS = st.floats(0.01, 100).map(lambda w: round(w, 4)) | st.sampled_from([1.0, -1.0, -0.5])
CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
"""Those that a database stores."""
WORDS = st.text(CHARACTERS, min_size=1, max_size=40).filter(lambda text: text.strip() != "")
TRICKY = st.lists(
    st.sampled_from(
        ["beach", "-people", "-5", "--no", '"', '""', '"red boat"', '"a"^2', "like:12", "-like:3",
         "^2", "2^8", "-", "http://x.y/-z?q=1", r"C:\a\b", "/etc/passwd", "~/a.jpg", "image:a.jpg",
         "-übung", "\n", "it's"]
    ),
    min_size=1,
    max_size=6,
).map(" ".join).filter(lambda text: text.strip() != "")  # fmt: skip
MODALITIES = st.lists(st.sampled_from(list(Modality)), max_size=2, unique=True).map(tuple)
PLAIN_TERMS = st.builds(Term, text=WORDS | TRICKY, weight=WEIGHTS) | st.builds(
    Term, segment=st.integers(0, 10**12), weight=WEIGHTS
)
VECTOR = st.lists(st.floats(-10, 10), min_size=1, max_size=4).map(tuple)
ANY_TERMS = (
    PLAIN_TERMS
    | st.builds(Term, image=st.binary(max_size=20), weight=WEIGHTS)
    | st.builds(Term, audio=st.binary(max_size=20), weight=WEIGHTS)
    | st.builds(Term, vector=VECTOR, space=st.sampled_from([None, "clip", "sound"]))
    | st.builds(Term, text=WORDS, modalities=MODALITIES, channels=st.just(("clip:image",)))
)
QUERIES = st.builds(
    Query,
    terms=st.lists(ANY_TERMS, max_size=4).map(lambda terms: (Term(text="x"), *terms)),
    modalities=MODALITIES,
    filter=st.none() | st.just({"size": {"gt": 3}}),
    limit=st.integers(1, 1000),
    min_score=st.floats(0, 1),
    collection=st.none() | st.just("family"),
    exact=st.booleans(),
    sort=st.lists(st.builds(SortKey, st.text(CHARACTERS, min_size=1, max_size=5)), max_size=3).map(
        tuple
    ),
    group=st.sampled_from(["segment", "moment", "source"]),
    best=st.integers(1, 100),
    fold=st.none() | st.floats(0, 1),
    facets=st.lists(
        st.builds(Facet, st.just("tags"), st.integers(1, 9), st.sampled_from(["value", "year"])),
        max_size=2,
    ).map(tuple),
    cursor=st.none() | st.just("abc"),
)


@settings(max_examples=300, deadline=None)
@given(QUERIES)
def test_every_query_survives_its_json_form(query: Query) -> None:
    """Through real JSON text, contents of pictures and recordings included."""
    body = orjson.loads(orjson.dumps(query_to_json(query)))
    assert query_from_json(body) == query
    assert SearchRequest.from_query(query).to_query() == query


@settings(max_examples=300, deadline=None)
@given(WORDS | TRICKY)
def test_a_typed_line_never_names_a_file(line: str) -> None:
    """Whatever is typed becomes words, negative words and segments, and no word is lost."""
    terms = terms_of(line)
    assert {term.kind for term in terms} <= {"text", "segment"}
    if all(term.segment is None for term in terms):
        kept = "".join(str(term.text) for term in terms)
        assert len(kept) >= sum(c.isalpha() for c in line)


@pytest.mark.parametrize(
    "line",
    [
        "A dog, running - fast - along the beach!",
        "What did she say at -5 degrees?",
        "https://example.org/a-b?-c=^2#like:1",
        "file:///etc/passwd",
        r"\\server\share\photo.jpg",
        "~/.ssh/id_rsa",
        "image:photo.jpg^0.5",
        "2^8 is 256",
        'the "red boat" at noon',
        "t-shirt --size",
        "  two  spaces\n",
    ],
)
def test_ordinary_lines_are_taken_as_they_stand(line: str) -> None:
    """Sentences, addresses, paths, sums: one term, to the letter."""
    assert terms_of(line) == [Term(text=line)]


def test_the_compact_line() -> None:
    """Deprecated: words first, then what was set apart, in order."""
    line = 'beach -people at sunset -"palm trees"^0.5 "at night"^2 like:12 -like:7^1.5'
    assert terms_of(line) == [
        Term(text="beach at sunset"),
        Term(text="people", weight=-1.0),
        Term(text="palm trees", weight=-0.5),
        Term(text="at night", weight=2.0),
        Term(segment=12),
        Term(segment=7, weight=-1.5),
    ]
    assert terms_of("   ") == []


def test_the_forms_mean_the_same(tmp_path: Path) -> None:
    """Built, typed and sent: one query."""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"a picture")
    built = (
        Query.words("beach")
        .without("people")
        .add(image=photo, weight=0.5)
        .with_modalities("image", "video")
        .where(taken_at={"gte": "2024"})
        .where(tags={"any": ["sea"]})
        .with_limit(20)
        .grouped_by_source(2)
        .sorted_by("-taken_at", "path")
        .with_facets("tags")
    )
    sent = query_from_json(
        {
            "compact": "beach -people",
            "terms": [{"image": "YSBwaWN0dXJl", "weight": 0.5}],
            "modalities": ["image", "video"],
            "filter": {"and": [{"taken_at": {"gte": "2024"}}, {"tags": {"any": ["sea"]}}]},
            "limit": 20,
            "group": {"by": "source", "best": 2},
            "sort": [{"taken_at": "desc"}, "path"],
            "facets": ["tags"],
        }
    )
    assert built.terms[:2] == sent.terms[:2]
    assert set(built.terms) == set(sent.terms)
    assert query_to_json(built) | {"terms": ()} == query_to_json(sent) | {"terms": ()}
    assert query_from_json({"query": "beach", "without": "people"}).terms == built.terms[:2]
    with pytest.raises(MediaError, match="no file"):
        Query.like(image=tmp_path / "nope.jpg")


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({"query": "x", "terms": [{"tex": "x"}]}, "tex", "Did you mean 'text'"),
        ({"query": "x", "rerank": "all"}, "rerank", "two joined by"),
        ({"query": "x", "weights": {"clip:smell": 1}}, "weights", "image, text"),
        ({"query": "x", "weights": {"clip": 11}}, "weights", "0 to 10"),
        ({"query": "x", "filter": [1]}, "filter", "an object"),
        ({"query": "x", "exact": 1}, "exact", "true or false"),
        ({"querry": "x"}, "querry", "Did you mean 'query'"),
        ({"query": "x", "sort": [{"taken_at": "down"}]}, "sort[0]", "desc"),
        ({"query": "x", "sort": 3}, "sort", "a list"),
        ({"query": "x", "sort": ["-"]}, "sort[0]", "desc"),
        ({"query": "x", "group": "album"}, "group", "segment, moment, source"),
        ({"query": "x", "group": {"by": "source", "best": 0}}, "group", "1 to 100"),
        ({"query": "x", "group": {"size": 2}}, "size", "by, best"),
        ({"query": "x", "fold": 1.5}, "fold", "0 to 1"),
        ({"query": "x", "diversity": -1}, "diversity", "0 to 1"),
        ({"query": "x", "diversity": 0.5, "sort": ["path"]}, "diversity", "not both"),
        ({"query": "x", "facets": [3]}, "facets[0]", "field's name"),
        ({"query": "x", "facets": [{"by": "year"}]}, "facets[0]", "missing"),
        ({"query": "x", "facets": [{"field": "a", "by": "week"}]}, "facets", "month"),
        ({"query": "x", "facets": [{"field": "a", "limit": 0}]}, "facets", "1 to 1000"),
        ({"query": "x", "without": [1]}, "without", "list of strings"),
        ({"query": "x", "cursor": 1}, "cursor", "a string"),
        ({"compact": "-people"}, "weight", "positive weight"),
        ({"terms": [{"text": "x", "channels": "clip"}]}, "terms[0].channels", "a list"),
        ({"terms": [{"text": "x", "channels": [""]}]}, "terms[0].channels", "strings"),
        ({"terms": [{"text": "x", "modalities": ["smell"]}]}, "terms[0].modalities", "image"),
    ],
)
def test_a_wrong_field_is_named(body: dict[str, Any], param: str, message: str) -> None:
    """`param` says where, the message what would be right."""
    with pytest.raises(MMSearchError, match=message) as error:
        query_from_json(body)
    assert error.value.param == param


def test_folding_by_a_word() -> None:
    """true is the measured threshold, false and null none."""
    assert query_from_json({"query": "x", "fold": True}).fold == FOLD_COSINE
    assert query_from_json({"query": "x", "fold": False}).fold is None
    assert query_from_json({"query": "x", "fold": 0.9}).fold == 0.9


def test_the_earlier_names_of_the_builder_still_work() -> None:
    """For one release."""
    old = Query.words("a").also("b").among("image").first(3).by_source(2).counting("mime")
    new = Query.words("a").add("b").with_modalities("image").with_limit(3)
    assert old == new.grouped_by_source(2).with_facets("mime")
