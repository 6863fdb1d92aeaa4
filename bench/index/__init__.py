"""What the index costs and finds: the real engine in-process, the embedded server, bytes, a large comparison."""
