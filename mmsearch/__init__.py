"""mmsearch: search photos, films, recordings and documents by their content.

Index a folder, then search it::

    from mmsearch import SearchEngine, index

    index("~/Pictures", library="my-library", profile="nano")
    with SearchEngine.open("my-library") as engine:
        for hit in engine.search("a red boat at sunset").hits:
            print(hit.score, hit.source.path)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer import index
    from mmsearch.errors import MMSearchError
    from mmsearch.library import Library
    from mmsearch.query import Facet, Hit, Query, SearchResult, SortKey, Term
    from mmsearch.search.engine import SearchEngine
    from mmsearch.settings import Settings
    from mmsearch.types import Modality, Place, Segment, Source

__version__ = "0.1.0"

__all__ = [
    "Facet",
    "Hit",
    "Library",
    "MMSearchError",
    "Modality",
    "Place",
    "Query",
    "SearchEngine",
    "SearchResult",
    "Segment",
    "Settings",
    "SortKey",
    "Source",
    "Term",
    "__version__",
    "index",
]

_MODULES = {
    "Facet": "mmsearch.query",
    "Hit": "mmsearch.query",
    "Library": "mmsearch.library",
    "MMSearchError": "mmsearch.errors",
    "Query": "mmsearch.query",
    "SearchEngine": "mmsearch.search.engine",
    "SearchResult": "mmsearch.query",
    "Settings": "mmsearch.settings",
    "SortKey": "mmsearch.query",
    "Term": "mmsearch.query",
    "index": "indexer",
}


def __getattr__(name: str) -> Any:
    """Import on first use: a decoding worker must start without loading SQL and FAISS."""
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module 'mmsearch' has no attribute '{name}'")
    return getattr(import_module(_MODULES.get(name, "mmsearch.types")), name)
