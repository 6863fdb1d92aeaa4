"""A photo studio: sets that are path-traced once without a product, and the light that a product takes from them."""
