"""Spelling: a long word that is nearly a finding's, misspelt or in a language that shares it, is read as that word."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import lru_cache
from unicodedata import normalize

from chexreason.answers.synonyms import NAMES

_WORD = re.compile(r"[^\W\d_]{8,20}")
_KNOWN = frozenset(_WORD.findall(" ".join(NAMES)))
_OFTEN_MISSPELT = (
    "atelectasis cardiomediastinum cardiomegaly consolidation effusion effusions fracture fractures mediastinum opacities "
    "pneumonia pneumothorax"
).split()
_CLOSE = 0.87  # of difflib's ratio: one letter in eight
# One word for two findings.
_BOTH = {f"{fluid}pneumothorax": f"{fluid}thorax and pneumothorax" for fluid in ("hydro", "hemo", "haemo")}


def mended(text: str) -> str:
    """`text` with such words spelt as CheXpert does. Linear in the length of `text`."""
    return _WORD.sub(lambda word: _mended(word.group()), text)


@lru_cache(maxsize=20_000)
def _mended(word: str) -> str:
    plain = "".join(sign for sign in normalize("NFKD", word.casefold()) if sign.isalpha())
    if plain in _BOTH or plain in _KNOWN:
        return _BOTH.get(plain, word)
    near = get_close_matches(plain, [name for name in _OFTEN_MISSPELT if name[0] == plain[:1]], n=1, cutoff=_CLOSE)
    return near[0] if near else word
