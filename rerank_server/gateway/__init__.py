"""The HTTP front: dialects in, candidate walk over the workers' sockets, dialects out."""
