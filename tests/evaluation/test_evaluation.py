"""A small data set with fake models, from files to a page: indexed, asked, compared, told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from indexer.evaluation.library import index_dataset
from mmsearch.errors import QueryError
from mmsearch.evaluation import Dataset, IndexedDataset, ask, ask_channels, read_dataset, runs
from mmsearch.evaluation.asking import ask_raw_cosine, check_channels
from mmsearch.evaluation.experiment import Way, evaluate, to_json
from mmsearch.evaluation.report import write
from mmsearch.search.engine import SearchEngine
from tests.support.fakes import a_picture, open_fake

COLOURS = ("red", "green", "blue", "yellow", "purple")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A picture and a note of each colour; notes also tell a number."""
    folder = tmp_path_factory.mktemp("files")
    rows: list[dict[str, object]] = [{"folder": "pictures"}]
    for number, colour in enumerate(COLOURS):
        a_picture(folder / "pictures" / f"{number}.png", colour)
        note = f"note {number}"
        rows.append({"item": note, "text": f"The {colour} kite of order {4711 + number} flew."})
        rows.append(
            {
                "query": colour,
                "text": f"a {colour} kite",
                "relevant": {f"pictures/{number}.png": 1, note: 2},
                "tags": ["colours"],
            }
        )
        rows.append({"query": f"n{number}", "text": f"order {4711 + number}", "relevant": [note]})
    path = folder / "kites.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return read_dataset(path)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    with open_fake(tmp_path_factory.mktemp("library")) as opened:
        yield opened


@pytest.fixture(scope="module")
def library(engine: SearchEngine, dataset: Dataset) -> IndexedDataset:
    taken, summary = index_dataset(engine, dataset)
    assert summary.ok
    return taken


def test_items_are_taken_in_once(
    engine: SearchEngine, dataset: Dataset, library: IndexedDataset
) -> None:
    """A collection of their own; the second time nothing is indexed."""
    assert library.collection == "evaluation-kites"
    again, summary = index_dataset(engine, dataset)
    assert summary.counts.indexed == 0
    assert summary.counts.unchanged == 10
    assert again.items == library.items
    assert set(library.items.values()) == {item.id for item in dataset.items}


def test_every_query_is_answered_in_items(dataset: Dataset, library: IndexedDataset) -> None:
    """Each item once, best first, scores falling; the right colour leads."""
    run = ask(library, dataset)
    assert list(run.rankings) == [query.id for query in dataset.queries]
    for colour in COLOURS:
        ranking = run.rankings[colour]
        assert len({item for item, _ in ranking}) == len(ranking) == 10
        scores = [score for _, score in ranking]
        assert scores == sorted(scores, reverse=True)
        relevant = {item for item, grade in dataset.judgements[colour].items() if grade > 0}
        assert {item for item, _ in ranking[:2]} == relevant


def test_each_channel_is_seen_alone(dataset: Dataset, library: IndexedDataset) -> None:
    """Pictures in clip:image, notes in text:text, nothing else in either."""
    found = ask_channels(library, dataset)
    assert {"clip:image", "text:text"} <= set(found)
    kinds = dataset.kinds()
    for name, kind in (("clip:image", "image"), ("text:text", "text")):
        items = [item for item, _ in found[name].rankings["red"]]
        assert {kinds[item] for item in items} == {kind}
        assert items[0] == ("pictures/0.png" if kind == "image" else "note 0")


def test_raw_cosines_are_sorted_as_they_are(dataset: Dataset, library: IndexedDataset) -> None:
    """The naive baselines: one list, by cosine, over all modalities."""
    for run in ask_raw_cosine(library, dataset).values():
        scores = [score for _, score in run.rankings["red"]]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == 10


def test_a_channel_left_out_says_nothing(dataset: Dataset, library: IndexedDataset) -> None:
    """Without clip no picture is found by words; an unknown channel is told."""
    kinds = dataset.kinds()
    run = ask(library, dataset, "without clip", without=("clip",))
    assert {kinds[item] for item, _ in run.rankings["red"]} == {"text"}
    run = ask(library, dataset, "without words", without=("text", "lexical"))
    assert {kinds[item] for item, _ in run.rankings["red"]} == {"image"}
    run = ask(library, dataset, "without pictures", without=("clip:image", "lexical"))
    assert {kinds[item] for item, _ in run.rankings["red"]} == {"text"}
    with pytest.raises(QueryError, match="no channel 'lexicon'"):
        check_channels(["lexicon"])


def test_saved_runs_come_back_and_compare(
    dataset: Dataset, library: IndexedDataset, tmp_path: Path
) -> None:
    """JSON keeps everything; TREC's format is six columns with falling scores."""
    run = runs.measured(ask(library, dataset), dataset, ("nDCG@10", "RR"))
    path = runs.save(run, tmp_path)
    loaded = runs.load(path)
    assert loaded.values == {
        name: {query: pytest.approx(value, abs=1e-6) for query, value in by_query.items()}
        for name, by_query in run.values.items()
    }
    assert [c.difference.mean for c in runs.compare_runs(run, run)] == [0.0, 0.0]
    lines = path.with_suffix(".trec").read_text().splitlines()
    assert len(lines) == sum(len(ranking) for ranking in run.rankings.values())
    assert re.fullmatch(r"red Q0 \S+ 1 10 fused", lines[0])
    other = runs.measured(replace(run, dataset="other"), dataset.first(3), ("nDCG@10", "RR"))
    with pytest.raises(QueryError, match="different queries"):
        runs.compare_runs(run, other)
    (tmp_path / "no.json").write_text('{"a": 1}')
    with pytest.raises(QueryError, match="not a run that mmsearch saved"):
        runs.load(tmp_path / "no.json")
    with pytest.raises(QueryError, match="cannot be read"):
        runs.load(tmp_path / "nowhere.json")


def test_a_report_stands_alone(dataset: Dataset, library: IndexedDataset, tmp_path: Path) -> None:
    """Figures by stage, modality and group; comparisons; no address is fetched by the page."""
    ways = [
        Way("fused", library),
        Way("without text", library, without=("text",), ablation=True),
        Way("without calibration", library, reciprocal_ranks=True, ablation=True),
    ]
    found = evaluate(dataset, ways, approximate=True)
    assert {"fused", "without text", "clip:image", "raw cosine"} <= {r.name for r in found.runs}
    assert set(found.by_kind(found.stages[0])) == {"image", "text"}
    assert found.by_tag(found.stages[0])["colours"]["R@1"].queries == 5
    assert all(share == 1.0 for share in found.approximation.values())
    assert ("fused", "without text") in {(v.first, v.second) for v in found.versus}
    ranks = next(run for run in found.runs if run.name == "without calibration")
    assert any(ranks.rankings.values())
    assert all(0 < score <= 1 for ranking in ranks.rankings.values() for _, score in ranking)
    told = to_json(found)
    json.dumps(told)
    assert told["runs"]["fused"]["by_modality"]["image"]["nDCG@10"]["queries"] == 5
    html = write(found, tmp_path / "report").read_text()
    assert "http" not in html
    assert html.count("<svg") == 1
    assert "without text against fused" in html
    assert (tmp_path / "report" / "summary.md").read_text().startswith("# Evaluation: kites")
    assert (tmp_path / "report" / "runs" / "kites-clip-image.trec").exists()
