"""Layers that several models share. May import: torch, portbev.ops."""
