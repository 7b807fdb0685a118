"""The HTTP server around the fronts: who may come in, streams, errors, metrics, reload."""
