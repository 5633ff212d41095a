"""Search of a library of shapes by words or by a shape, with a run's model or other models' embeddings."""
