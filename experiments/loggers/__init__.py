"""Loggers: where else a run's metrics, pictures and results are shown, beside its own folder."""
