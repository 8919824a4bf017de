"""Whether what upstreams offer is what was seen of them first: definitions, pinned by hash in a file that people keep."""
