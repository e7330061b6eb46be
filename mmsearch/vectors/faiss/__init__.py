"""The FAISS backend of vector indexes."""
