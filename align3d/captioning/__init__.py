"""Captions of shapes from templates, files, and models that see rendered views or read other captions."""
