"""Spans out."""
