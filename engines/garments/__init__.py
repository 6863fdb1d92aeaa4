"""What a garment's outline says of it: its places, its parts, and whether it can be fitted to anybody."""
