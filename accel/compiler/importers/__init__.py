"""Importers: one module per model format."""
