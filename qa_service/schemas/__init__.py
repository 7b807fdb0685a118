"""The JSON of the API: requests read, responses written, and their description."""
