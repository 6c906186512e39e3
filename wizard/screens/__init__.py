"""Screens that stand before the wizard for a moment."""
