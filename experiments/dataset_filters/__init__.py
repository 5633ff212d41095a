"""Filters of built datasets by a trained run: near-duplicates of its embeddings, captions that fit no better.

They are named on a command line as ``experiments.dataset_filters.near_duplicates:NearDuplicates`` and
``experiments.dataset_filters.pair_alignment:PairAlignment``.
"""
