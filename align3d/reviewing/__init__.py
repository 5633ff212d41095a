"""Review of a dataset by people: what they decide, how it is kept, whether they agree."""
