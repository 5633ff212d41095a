"""Memory of known pairs around any engine: what they recall, how readily vectors answer, and both folded."""
