"""What a shop says: its vocabulary, what merchants write, and the rules by which words leave the system."""
