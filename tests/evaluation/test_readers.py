"""Data sets in the formats they are published in, and what a reader says of a broken one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmsearch.errors import QueryError
from mmsearch.evaluation import read_dataset


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")


def test_json_lines(tmp_path: Path) -> None:
    """Folders, files, texts; queries in words, by picture and by recording; grades and tags."""
    _touch(tmp_path / "pictures" / "1.jpg", tmp_path / "pictures" / "2.jpg")
    _touch(tmp_path / "memo.ogg", tmp_path / "look.png", tmp_path / "ask.wav")
    rows = [
        {"folder": "pictures"},
        {"item": "memo.ogg"},
        {"item": "invoice", "text": "Invoice 4711"},
        {"query": "q1", "text": "a boat", "relevant": {"pictures/1.jpg": 2, "memo.ogg": 1}},
        {"query": "q2", "image": "look.png", "relevant": ["pictures/2.jpg"], "tags": ["look"]},
        {"query": 3, "audio": "ask.wav", "text": "4711", "relevant": ["invoice"], "split": "dev"},
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    found = read_dataset(path)
    assert found.name == "mine"
    assert {item.id: item.kind for item in found.items} == {
        "pictures/1.jpg": "image",
        "pictures/2.jpg": "image",
        "memo.ogg": "audio",
        "invoice": "text",
    }
    assert [query.id for query in found.queries] == ["q1", "q2", "3"]
    assert found.judgements["q1"] == {"pictures/1.jpg": 2, "memo.ogg": 1}
    assert found.tags() == ["look"]
    assert found.queries[2].to_query(7, "c").terms[1].audio == b"content"
    assert [q.id for q in read_dataset(path, split="test").queries] == ["q1", "q2"]


def test_json_lines_take_relevant_files_as_items_and_tell_what_is_missing(tmp_path: Path) -> None:
    """Without item lines the judged files are all there is; absent ones are counted."""
    _touch(tmp_path / "a.jpg")
    path = tmp_path / "mine.jsonl"
    path.write_text(
        '{"query": "1", "text": "a", "relevant": ["a.jpg", "gone.jpg"]}\n\n'
        '{"query": "2", "text": "b", "relevant": ["gone.jpg"]}\n'
    )
    found = read_dataset(path)
    assert [item.id for item in found.items] == ["a.jpg"]
    assert [query.id for query in found.queries] == ["1"]
    assert found.problems[0] == "1 relevant items are not there"
    assert found.problems[1].startswith("1 queries without a relevant item")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "mine.jsonl:1 is not JSON"),
        ("[]", "mine.jsonl:1 must be a JSON object"),
        ("{}", "none of query, item, folder"),
        ('{"query": "1", "relevant": []}', "a query has text, image or audio"),
        ('{"query": "1", "text": "a", "relevant": "b"}', "'relevant' must be"),
        ('{"query": "1", "text": "a", "relevent": []}', "unknown field 'relevent'"),
        ('{"query": "1", "text": 1.5, "relevant": []}', "'text' must be a string"),
        ('{"query": "1", "image": "no.jpg", "relevant": []}', "there is no file"),
        ('{"item": "no.jpg"}', "there is no file"),
        ('{"folder": "no"}', "there is no folder"),
        ('{"query": "1", "text": "a", "relevant": ["no.jpg"]}', "no query has a relevant item"),
    ],
)
def test_a_broken_line_is_told_with_its_number(tmp_path: Path, line: str, message: str) -> None:
    """One sentence, never a traceback."""
    path = tmp_path / "mine.jsonl"
    path.write_text(line)
    with pytest.raises(QueryError, match=message):
        read_dataset(path)


def test_karpathys_json(tmp_path: Path) -> None:
    """Only the asked split; COCO's folders; pictures that are missing are counted."""
    images = [
        {"filename": "1.jpg", "split": "test", "imgid": 5, "sentences": [
            {"raw": "a dog", "sentid": 50}, {"raw": "a brown dog", "sentid": 51}]},
        {"filename": "2.jpg", "filepath": "val2014", "split": "test", "imgid": 6,
         "sentences": [{"raw": "a cat"}]},
        {"filename": "3.jpg", "split": "test", "sentences": [{"raw": "gone", "sentid": 60}]},
        {"filename": "4.jpg", "split": "val", "sentences": [{"raw": "other", "sentid": 70}]},
    ]  # fmt: skip
    path = tmp_path / "dataset_small.json"
    path.write_text(json.dumps({"dataset": "small", "images": images}))
    _touch(tmp_path / "images" / "1.jpg", tmp_path / "images" / "val2014" / "2.jpg")
    found = read_dataset(path)
    assert found.name == "small"
    assert {q.id: q.text for q in found.queries} == {
        "50": "a dog", "51": "a brown dog", "6-0": "a cat"}  # fmt: skip
    assert found.judgements["51"] == {"1.jpg": 1}
    assert found.problems == (f"1 pictures are not in {tmp_path / 'images'}",)
    with pytest.raises(QueryError, match=r"no split 'train'.*test, val"):
        read_dataset(path, split="train")
    path.write_text('{"images": [{}]}')
    with pytest.raises(QueryError, match="not Karpathy"):
        read_dataset(path)


def test_a_beir_folder(tmp_path: Path) -> None:
    """Title and text are one; the queries are those that the split judges."""
    folder = tmp_path / "scifact"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(
        '{"_id": "d1", "title": "Boats", "text": "They float."}\n{"_id": "d2", "text": "Tea"}\n'
    )
    (folder / "queries.jsonl").write_text(
        '{"_id": "q1", "text": "what floats"}\n{"_id": "q2", "text": "unjudged"}\n'
    )
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n")
    found = read_dataset(folder)
    assert found.name == "scifact"
    assert [(item.id, item.text) for item in found.items] == [
        ("d1", "Boats\n\nThey float."),
        ("d2", "Tea"),
    ]
    assert [query.id for query in found.queries] == ["q1"]
    assert found.judgements == {"q1": {"d1": 2, "d2": 0}}
    with pytest.raises(QueryError, match=r"qrels/dev.tsv is missing \(splits: test\)"):
        read_dataset(folder, split="dev")
    (folder / "qrels" / "test.tsv").write_text("q1 d1 2\n")
    with pytest.raises(QueryError, match=r"test\.tsv:1 must be"):
        read_dataset(folder)


def test_clotho(tmp_path: Path) -> None:
    """Five captions look for one recording."""
    path = tmp_path / "clotho.csv"
    path.write_text('file_name,caption_1,caption_2\nrain a.wav,"rain, falling",water\nb.wav,x,y\n')
    _touch(tmp_path / "clotho" / "rain a.wav")
    found = read_dataset(path)
    assert {q.id: q.text for q in found.queries} == {
        "rain a.wav#1": "rain, falling", "rain a.wav#2": "water"}  # fmt: skip
    assert found.judgements["rain a.wav#2"] == {"rain a.wav": 1}
    assert found.items[0].kind == "audio"
    assert found.problems == (f"1 recordings are not in {tmp_path / 'clotho'}",)


def test_audiocaps(tmp_path: Path) -> None:
    """Clips under any of their usual names; several captions of a clip are one item."""
    path = tmp_path / "test.csv"
    path.write_text(
        "audiocap_id,youtube_id,start_time,caption\n"
        "7,abc,30,a dog barks\n8,abc,30,barking\n9,xyz,0,gone\n10,def,5,wind\n"
    )
    sounds = tmp_path / "sounds"
    _touch(sounds / "Yabc.wav", sounds / "10.flac")
    found = read_dataset(path, media=sounds)
    assert found.judgements == {"7": {"abc_30": 1}, "8": {"abc_30": 1}, "10": {"def_5": 1}}
    assert found.problems == (f"1 recordings are not in {sounds}",)
    path.write_text("name,words\na,b\n")
    with pytest.raises(QueryError, match="neither Clotho's columns"):
        read_dataset(path)


def test_what_is_no_data_set_is_told(tmp_path: Path) -> None:
    """A path that is not there, a format that nobody knows, and one that cannot be seen."""
    with pytest.raises(QueryError, match="there is no data set"):
        read_dataset(tmp_path / "no.jsonl")
    other = tmp_path / "data.parquet"
    other.write_bytes(b"PAR1")
    with pytest.raises(QueryError, match="name its --format"):
        read_dataset(other)
    with pytest.raises(QueryError, match="Formats: jsonl, karpathy, beir, captions-csv"):
        read_dataset(other, "parquet")
