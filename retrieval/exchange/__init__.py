"""Content of an index in the formats of others: Parquet, Lance and Qdrant, written and read again."""
