"""The package that runs inside each version's own environment; imports nothing of rerank_server."""
