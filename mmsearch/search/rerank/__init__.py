"""The second stage: rerankers look at the best candidates."""
