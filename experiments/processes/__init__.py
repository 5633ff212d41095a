"""Processes that train one run together, as ``torchrun`` starts them."""
