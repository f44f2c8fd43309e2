"""What the paper's SFT and GRPO should take on one H100, counted, where none was at hand: python -m benches.estimate

Operations are counted from the published architectures and the clinical configs, with TRL alone and as it is done here; a
test compares the counting with torch's own counter. Hours follow from the share of its peak that a pass is assumed to reach (a
card that trains language models well reaches some 40 %), and for each decoded token from the time in which all weights are
read. What Python takes between the card's kernels is not counted, nor are loading, saving and validation.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from chexreason.families import Architecture
from chexreason.phantom.standins import architecture
from chexreason.runs.config import compose

PEAK, BANDWIDTH = 989e12, 3.35e12  # H100 SXM: dense bfloat16 operations a second, bytes a second (NVIDIA's data sheet)
USED = 0.4  # share of either that is assumed
PROMPT, COMPLETION, SIDE = 600, 250, {"gemma3": 896, "qwen2_5_vl": 448}  # tokens (256 of the image), pixels
MODELS = {"gemma3": "medgemma", "qwen2_5_vl": "qwen"}
BACKWARD = 2.5  # attention's, in forward passes; that of a frozen matrix, through which gradients go on, takes one


@dataclass(frozen=True)
class Work:
    """Operations of a pass: in matrices, and in attention."""

    matrices: float
    attention: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.matrices + other.matrices, self.attention + other.attention)

    def __rmul__(self, times: float) -> Work:
        return Work(times * self.matrices, times * self.attention)

    @property
    def backward(self) -> Work:
        return Work(self.matrices, BACKWARD * self.attention)

    @property
    def operations(self) -> float:
        return self.matrices + self.attention


@dataclass(frozen=True)
class Counted:
    """A model of `family`, its images `side` pixels wide."""

    family: str
    architecture: Architecture
    side: int

    def image(self) -> Work:
        """The vision tower and what leads from it to the language model, for one image."""
        gemma, eyes = self.family == "gemma3", self.architecture.vision
        width, inner, patch = eyes["hidden_size"], eyes["intermediate_size"], eyes["patch_size"]
        patches, hidden = (self.side // patch) ** 2, self.architecture.text["hidden_size"]
        if gemma:
            layers, seen = eyes["num_hidden_layers"], eyes["num_hidden_layers"] * patches
            tokens, projector = self.architecture.visual_tokens or 0, width * hidden
        else:
            layers, window = eyes["depth"], (eyes["window_size"] // patch) ** 2
            whole = len(eyes["fullatt_block_indexes"])
            merged = width * eyes["spatial_merge_size"] ** 2
            seen = whole * patches + (layers - whole) * window
            tokens, projector = patches // eyes["spatial_merge_size"] ** 2, merged * merged + merged * hidden
        embedding = patch * patch * 3 * width * (1 if gemma else 2)  # a Qwen sees each film twice, as two frames
        matrices = patches * (layers * (4 * width**2 + (2 if gemma else 3) * width * inner) + embedding) + tokens * projector
        return Work(2 * matrices, 4 * patches * width * seen)

    def text(self, tokens: int, scored: int) -> Work:
        """The language model over a row of so many tokens, of which `scored` go on to its head."""
        text = self.architecture.text
        heads = text["num_attention_heads"] * self.head_width
        head = text["hidden_size"] * (self.architecture.vocabulary or 0)
        return Work(
            2 * tokens * text["num_hidden_layers"] * self.layer + 2 * scored * head,
            4 * text["num_hidden_layers"] * heads * tokens**2,
        )

    @property
    def head_width(self) -> int:
        text = self.architecture.text
        return int(text.get("head_dim", text["hidden_size"] // text["num_attention_heads"]))

    @property
    def layer(self) -> float:
        """Weights of one layer's matrices."""
        text = self.architecture.text
        hidden, queries, keys = text["hidden_size"], text["num_attention_heads"], text["num_key_value_heads"]
        return 2 * hidden * self.head_width * (queries + keys) + 3 * hidden * text["intermediate_size"]

    @property
    def read(self) -> float:
        """Bytes that decoding a token reads: the language model's weights, head included, in bfloat16."""
        text = self.architecture.text
        return 2 * (text["num_hidden_layers"] * self.layer + text["hidden_size"] * (self.architecture.vocabulary or 0))

    def sft(self, epochs: float) -> tuple[Work, Work]:
        """One image in all epochs, with gradient checkpointing: TRL alone, and here."""
        row, scored = self.text(PROMPT + COMPLETION, PROMPT + COMPLETION), self.text(PROMPT + COMPLETION, COMPLETION)
        plain = epochs * (2.0 * (self.image() + row) + (self.image() + row).backward)
        return plain, self.image() + epochs * (2.0 * scored + scored.backward)

    def grpo(self, group: int, updates: int, again: bool) -> tuple[Work, Work]:
        """One study and its group of completions, decoding aside: TRL alone, and here. `again`: gradient checkpointing."""
        alone, shared = self.text(PROMPT + COMPLETION, COMPLETION), self.text(PROMPT + group * COMPLETION, group * COMPLETION)
        asked, passes = self.image() + self.text(PROMPT, 1), 1.0 + again
        image = (passes * self.image() + self.image().backward) if again else self.image()
        plain = group * (asked + 2.0 * (self.image() + alone) + float(updates) * (image + passes * alone + alone.backward))
        return plain, asked + shared + float(updates) * (passes * shared + shared.backward)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| | operations, TRL alone | here | hours, TRL alone | here | of which decoding |")
    print("| --- | --- | --- | --- | --- | --- |")
    for family, model in MODELS.items():
        counted = Counted(family, architecture(family, "published"), SIDE[family])
        sft, grpo = (compose([f"stage={stage}", f"model={model}"]).stage for stage in ("sft", "grpo"))
        sizes = compose(["stage=curate", f"model={model}"]).stage.sizes
        rollout = grpo.batch_size * grpo.accumulation
        steps = sizes.rl * grpo.epochs * grpo.completions / rollout * COMPLETION
        decoding = steps * counted.read / (USED * BANDWIDTH) / 3600
        for title, count, works, decode in (
            (f"SFT, {sizes.sft:,} images, {sft.epochs:g} epochs", sizes.sft * (1 - sft.held_out), counted.sft(sft.epochs), 0.0),
            (
                f"GRPO, {sizes.rl:,} x {grpo.completions}, {grpo.steps_per_rollout} updates a rollout",
                sizes.rl * grpo.epochs,
                counted.grpo(grpo.completions, grpo.steps_per_rollout, grpo.gradient_checkpointing),
                decoding,
            ),
        ):
            totals = [count * work.operations for work in works]
            hours = [total / (USED * PEAK) / 3600 + decode for total in totals]
            cells = [f"{total / 1e15:,.0f}e15" for total in totals] + [f"{hour:.2f}" for hour in hours] + [f"{decode:.2f}"]
            print(f"| {model}: {title} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
