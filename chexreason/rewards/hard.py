"""The hard reward (equation 3): the right format or nothing, then the Jaccard similarity of the labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from chexreason.completion import EMPTY, NO_VALID_LABEL, parse_strict
from chexreason.rewards.scored import Scored, Scorer, jaccard


@dataclass(frozen=True)
class HardReward:
    """Equation 3. `min_tokens` is the length |t|, in tokens, below which `length_penalty` is taken off."""

    name: str
    min_tokens: int
    length_penalty: float

    def scorer(self, grammar: str, frequencies: Mapping[str, float]) -> Scorer:
        """A function that scores one completion; label frequencies play no part in equation 3."""

        def score(completion: str, labels: Collection[str], num_tokens: int) -> Scored:
            answer = parse_strict(completion, grammar)
            # An answer without a valid label is well formed: its Jaccard similarity says what it is worth.
            valid = answer.failure in (None, EMPTY, NO_VALID_LABEL) and bool(completion.strip())
            match = jaccard(labels, answer.labels) if valid else 0.0
            short = -self.length_penalty if valid and num_tokens < self.min_tokens else 0.0
            return Scored(match + short, {"jaccard": match, "length": short}, answer)

        return score
