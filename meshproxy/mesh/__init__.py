"""The mesh: many providers as one, and the control loop that follows the file."""
