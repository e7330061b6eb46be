"""Adapters that look at the best hits again, each a `mmsearch.protocols.Reranker`."""
