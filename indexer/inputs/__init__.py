"""What is to be indexed: folders, lists, shards, tables, URLs."""
