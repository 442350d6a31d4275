"""Proves a version on a small fixed set of pairs, in its own environment, without a server."""
