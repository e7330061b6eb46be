"""The second stage of ranking: rerankers look at the best candidates."""
