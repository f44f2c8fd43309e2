"""Review packs: traces for review by radiologists, and their verdicts (section 3.1)."""
