"""Elaboration: from syntax to typed core nodes, and every mistake that stands in between."""
