"""Sources that read the field's benchmarks from the files that their publishers give."""
