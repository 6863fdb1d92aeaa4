"""What is tried on at a face: colour on lips, glasses."""
