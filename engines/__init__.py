"""Models behind protocols: lists in, lists out. No broker, no database."""
