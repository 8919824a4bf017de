"""Several processes that are one endpoint: what each of them gave out leads back to it. See docs/design.md."""
