"""The demo: a real shop's catalog goes through everything, and ends on a page to look at."""
