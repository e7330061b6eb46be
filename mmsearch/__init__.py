"""mmsearch: find the photo, the second, the page, the sentence by what is in it.

Search a library in three lines::

    from mmsearch import SearchEngine

    with SearchEngine.open("my-library") as engine:
        print(engine.search("a red boat at sunset").hits[0].source.path)

Fill one in as few (see `indexer.index`)::

    from indexer import index

    index("~/Pictures", library="my-library", profile="nano")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
]

_HOMES = {
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
}


def __getattr__(name: str) -> Any:
    """Import on first use: a decoding worker starts in a blink only without SQL and FAISS."""
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module 'mmsearch' has no attribute '{name}'")
    return getattr(import_module(_HOMES.get(name, "mmsearch.types")), name)
