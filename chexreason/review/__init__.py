"""Review packs: traces laid before radiologists, and what they made of them (section 3.1)."""
