"""Exchange with other tools: datasets as WebDataset shards or Parquet files, and back."""
