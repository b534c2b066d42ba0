"""Policies that are trained: tokens in, action out. The networks need torch and are imported where they are used."""
