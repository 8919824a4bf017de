"""Whether one upstream can be reached, and how it is kept so: states, backoff, health, and the supervisor of its control link."""
