"""Boxes that somebody drew around things, in an image or in space, as segments of a frame."""
