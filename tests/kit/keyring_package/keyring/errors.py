class KeyringError(Exception):
    """What the package raises."""
