"""The HTTP server around the fronts: middlewares, event streams, errors as problem+json, metrics, signals."""
