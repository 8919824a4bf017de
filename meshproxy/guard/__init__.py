"""What an upstream is protected by: how many calls at once, how many a second, when it is left in peace, and what is asked twice."""
