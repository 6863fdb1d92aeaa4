"""Clothes onto people in the picture's plane: splines, targets, what is covered, light, order."""
