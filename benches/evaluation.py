"""Answers about images against plain `generate`, one by one and in batches (python -m benches.speed --only evaluation).

The models are those of benches/training.py. Untrained, they would never end: each completion is ended at a length that is
drawn from Open-i's 3,955 real reports (in torchxrayvision's wheel), by their words, scaled to a mean of the paper's 250 tokens
and held to evaluation's 1,024. A trained model's completions may vary less, or more where some run to the limit; where all are
equally long, none leaves early, and there is nothing to gain. Where another run has seen the images (another checkpoint or
prompt of the same base model), their features are read from disk, and that is timed too.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from transformers import DynamicCache, LogitsProcessor

from benches.reports import MEAN, lengths
from benches.training import WORDS, Results, Setting, compare, films, model_of
from chexreason.data.cache import feature_entries
from chexreason.models.encoding import chat, encode
from chexreason.models.features import FeatureStore
from chexreason.models.generation import Generator
from chexreason.prompts import Prompt

IMAGES, LIMIT = 16, 1024
INSTRUCTION = WORDS * Setting.words


class Ending(LogitsProcessor):
    """Lets each row of a batch end at its length, and not before; rows that have ended may leave the batch."""

    def __init__(self, wanted: list[int], stops: list[int]):
        self.wanted, self.stops, self.step = torch.tensor(wanted), stops, 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.step += 1
        if len(input_ids) < len(self.wanted):
            self.wanted = self.wanted[self.wanted >= self.step]
        scores[:, self.stops] = -torch.inf
        scores[self.wanted == self.step, self.stops[0]] = torch.inf
        return scores


def evaluate(family: str, ours: bool, batch: int, wanted: list[int], known: bool = False) -> dict[str, float]:
    """Seconds for as many images as there are lengths `wanted`; `known`: another run has seen them."""
    model, processor = model_of(family)
    model.eval()
    if ours:
        model.merge_adapter()  # as load_generator does with weights of float32
    seen = films(len(wanted))
    entries = feature_entries(Path(tempfile.mkdtemp()))
    if known:
        FeatureStore(model, processor, entries).films(seen)
    stops = model.generation_config.eos_token_id
    stops = stops if isinstance(stops, list) else [stops]
    text = chat(processor, INSTRUCTION)
    generate, written = model.generate, []
    prompt = Prompt("bench", "labels", "", "", INSTRUCTION)
    answer = Generator(model, processor, prompt, LIMIT, features=FeatureStore(model, processor, entries))
    began = time.process_time()
    for start in range(0, len(wanted), batch):
        some = slice(start, start + batch)
        ended: Any = partial(generate, logits_processor=[Ending(wanted[some], stops)])
        if ours:
            model.generate = ended
            written += [one.num_tokens + 1 for one in answer(seen[some])]
        else:
            inputs = encode(processor, [text] * batch, seen[some])
            with torch.inference_mode():
                ids = ended(**inputs, do_sample=False, max_new_tokens=LIMIT)[:, inputs["input_ids"].shape[1] :]
            processor.batch_decode(ids, skip_special_tokens=True)
            written += [int(torch.isin(row, torch.tensor(stops)).nonzero()[0, 0]) + 1 for row in ids]
    seconds = time.process_time() - began
    assert written == wanted
    return {"evaluation": seconds}


def with_transformers_cache(family: str, wanted: list[int]) -> dict[str, float]:
    """`evaluate` of known images in one batch of ours, but for the cache that grows."""
    with patch("chexreason.models.generation.growing_cache", lambda config: DynamicCache(config=config.get_text_config())):
        return evaluate(family, True, len(wanted), wanted, known=True)


def evaluation(families: list[str], repeats: int) -> Results:
    """Batches of 16 of ours, and of 32, against `generate` for batches of 16 and for each image alone."""
    varied, more = lengths(IMAGES, LIMIT), lengths(2 * IMAGES, LIMIT)
    for family in families:
        for batch, wanted, size, known in (
            (16, varied, 16, False),
            (16, [MEAN] * IMAGES, 16, False),
            (16, more, 32, False),
            (1, varied, 16, False),
            (1, varied, 16, True),
        ):
            sides = [partial(evaluate, family, False, batch, wanted), partial(evaluate, family, True, size, wanted, known)]
            (measured,) = compare(sides[0], sides[1], repeats, count=batch == 16 and wanted == varied).values()
            measured |= {"images/s": len(wanted) / measured["ours_s"]}
            how = ", equally long" if wanted == [MEAN] * IMAGES else ""
            how += f"{', ours of 32' if size == 32 else ''}{', known images' if known else ''}"
            yield f"{family}/evaluation against batches of {batch}{how}", measured
        sides = [partial(with_transformers_cache, family, varied), partial(evaluate, family, True, IMAGES, varied, True)]
        (measured,) = compare(sides[0], sides[1], repeats).values()
        yield f"{family}/evaluation against transformers' cache, known images", measured
