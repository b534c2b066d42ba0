"""Habitat as a second world: what it needs of frames, files and settings is pure; `simulator` alone imports it."""
