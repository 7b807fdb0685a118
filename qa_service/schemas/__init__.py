"""The JSON that is read and sent, as pydantic models: requests, responses and events, and their OpenAPI description.

Only `allowed` does not import pydantic, whose import takes longer than an answer in the terminal.
"""
