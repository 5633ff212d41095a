"""Tasks of the field as pure functions: embeddings and labels in, measurements with their intervals out."""
