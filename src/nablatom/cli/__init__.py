"""Text to everything below: one file per verb, each a thin shell around Python functions."""

from nablatom.cli.app import app, main

__all__ = ["app", "main"]
