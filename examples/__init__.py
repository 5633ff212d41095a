"""One example for each thing that can be added in a file; docs/extending.md walks through them."""
