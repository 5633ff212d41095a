"""Views of the demo page that are made of a searcher or of run folders: calibrations, the map, runs."""
