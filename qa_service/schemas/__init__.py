"""The JSON that is read and sent, as pydantic models: requests, responses, events, and OpenAPI's description of them.

Only `allowed` can be imported without pydantic, whose import takes longer than an answer in the terminal.
"""
