"""One live upstream: how it is reached, who owns its connection, and what it offers."""
