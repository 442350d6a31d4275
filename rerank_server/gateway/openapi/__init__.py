"""The OpenAPI 3.1 description of the server, as plain data; imports nothing heavy."""
