"""Stored records: reading them, packing them, comparing them."""
