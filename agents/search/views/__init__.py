"""Views of a finished search: plots and exports."""
