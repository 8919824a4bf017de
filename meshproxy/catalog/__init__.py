"""What is offered: components, the catalog of one upstream, and the snapshot of all. Pure."""
