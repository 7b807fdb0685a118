"""The ways in. Each module here is a front: it has `add_commands(parsers)`, `router(service, settings)`, or both, and
`prepare(settings)` where something is built once.

A front imports what is heavy (the web framework, rich) inside the function that needs it: a question asked at the
terminal pays for nothing else.
"""
