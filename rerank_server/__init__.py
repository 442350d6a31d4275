"""Run many versions of reranker models side by side on one machine."""

__version__ = "0.1.0"
