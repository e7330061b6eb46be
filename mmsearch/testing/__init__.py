"""Deterministic stand-ins for models and the search engine, for tests of what surrounds them.

The models need neither torch nor weights and answer in microseconds. A search with them still
finds things: `FakeImageTextEmbedder` embeds colours ("a red boat" is near reddish pictures),
`FakeTextEmbedder` embeds the words of a text, `FakeSoundEmbedder` the pitch of a sound::

    embedder = FakeImageTextEmbedder()
    vectors = embedder.encode_images([Image.new("RGB", (64, 64), "red")])

`FakeSearcher` is a `Searcher` over the store of a real library.
"""

from mmsearch.testing.embedders import FakeImageTextEmbedder, FakeSoundEmbedder, FakeTextEmbedder
from mmsearch.testing.pictures import FakeCaptioner, FakeOcr
from mmsearch.testing.reranker import FakeReranker
from mmsearch.testing.searcher import FakeSearcher
from mmsearch.testing.transcriber import FakeTranscriber
from mmsearch.testing.vectors import COLOURS

__all__ = [
    "COLOURS",
    "FakeCaptioner",
    "FakeImageTextEmbedder",
    "FakeOcr",
    "FakeReranker",
    "FakeSearcher",
    "FakeSoundEmbedder",
    "FakeTextEmbedder",
    "FakeTranscriber",
]
