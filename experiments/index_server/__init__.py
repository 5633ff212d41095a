"""An index behind HTTP: search, changes, health and metrics, for programs."""
