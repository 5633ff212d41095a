"""Readers of mesh files: each turns a file into a scene of parts, with their colors, in the file's unit."""
