"""The HTTP server around the fronts: middlewares, event streams, errors as problems, metrics, signals."""
