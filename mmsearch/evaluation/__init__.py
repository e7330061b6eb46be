"""Measures how well a library is searched: data sets, runs, measures, significance, reports."""

from __future__ import annotations

from mmsearch.evaluation.asking import IndexedDataset, ask, ask_channels
from mmsearch.evaluation.dataset import Dataset, EvalQuery, Item
from mmsearch.evaluation.readers import read_dataset
from mmsearch.evaluation.runs import Run, compare_runs

__all__ = [
    "Dataset",
    "EvalQuery",
    "IndexedDataset",
    "Item",
    "Run",
    "ask",
    "ask_channels",
    "compare_runs",
    "read_dataset",
]
