"""Scene pictures: settings, where a product lies in them, what is painted around it, and the proof that it is
still the product."""
