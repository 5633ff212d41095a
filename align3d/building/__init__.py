"""Parts of a build, one idea a file; ``align3d.pipeline`` puts them together.

An item goes through the stages of ``stages`` (read, turn, caption, texts, validate) by itself, in a worker
process. ``plan`` deals items to shards and shards to parts, ``reading`` has them read, ``collecting`` makes a
dataset of finished shards, ``deciding`` applies what filters and reviewers say to a dataset as it was read,
and ``placing`` puts it where it belongs at one blow.
"""
