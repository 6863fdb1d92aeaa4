"""The rules of Vitrine: events, graph, keys, retries, errors. Standard library and pydantic only."""
