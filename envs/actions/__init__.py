"""Action families and the catalogue of their actions."""
