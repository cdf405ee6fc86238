"""Packing a network for other runtimes; every file carries its measured error."""
