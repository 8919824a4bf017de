"""One peer upstream: programs, URLs, servers in this process; how an era is agreed upon, and what a refusal means."""
