"""What a demo file declares, and values for its parameters."""
