"""The wire formats of other rerank servers, told apart by the shape of the body."""
