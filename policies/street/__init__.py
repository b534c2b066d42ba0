"""Agents that follow instructions on the streets."""
