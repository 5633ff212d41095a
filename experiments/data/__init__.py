"""Datasets as tensors: corpus, batches, encodings, attention maps."""
