"""What travels back: an upstream's questions and notifications, to the downstream whose call they belong to."""
