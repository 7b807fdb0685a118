"""What a demo file declares, and values for the parameters of its experiment."""
