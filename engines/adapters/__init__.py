"""One model a file; importing a file registers its engine without loading any weights."""
