"""One stage a file; this folder's listing is the list of stages."""
