"""Entry of `python -m rerank_server.gateway`, spawned by the supervisor."""

from rerank_server.gateway.main import main

main()
