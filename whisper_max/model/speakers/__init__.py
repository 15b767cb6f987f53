"""The graphs of the two networks that tell speakers apart."""
