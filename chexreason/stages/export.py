"""A trained checkpoint in the layout that the hub and vLLM expect: weights, processor and a model card.

Leaves `export/`: a merged model (merged in float32, then rounded once to the model's own precision) or the adapter alone.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chexreason.answers import predictions
from chexreason.errors import ChexReasonError
from chexreason.pages import markdown_table
from chexreason.runs.files import write_text
from chexreason.runs.folders import Run, ancestors, complete_runs
from chexreason.runs.identity import CIRCUMSTANCE

EXPORT = "export"


@dataclass(frozen=True)
class Settings:
    """Which checkpoint, and in which form."""

    name: str
    merged: bool
    output: str | None = field(metadata=CIRCUMSTANCE)


USES = ("model", "prompt", "checkpoint")
TORCH = True


def execute(run: Run) -> dict[str, Any]:
    """Write `export/` (and `stage.output`); returns its files and their size."""
    import torch
    from transformers import GenerationConfig

    from chexreason.models.loading import load_adapter, load_model, public_name, require_adapter, save_adapter
    from chexreason.models.processors import load_processor

    settings: Settings = run.settings
    folder = run.folder / EXPORT
    shutil.rmtree(folder, ignore_errors=True)
    if run.checkpoint.adapter is None:
        raise ChexReasonError("checkpoint=base is the model as it comes: choose checkpoint=sft, grpo or grpo_best")
    adapter = require_adapter(Path(run.checkpoint.adapter))
    # A LoRA update is small beside the weight that it is added to: rounded to bfloat16, half of it may be lost.
    model = load_adapter(load_model(replace(run.model, dtype="float32")), adapter)
    if settings.merged:
        model.merge_and_unload().to(getattr(torch, run.model.dtype)).save_pretrained(folder)
    else:
        save_adapter(model, folder, run.model)
    load_processor(run.model, padding_side="left").save_pretrained(folder)
    if settings.merged:  # the base's own generation settings, which load_model leaves out: who uses the export expects them
        GenerationConfig.from_pretrained(run.model.weights).save_pretrained(folder)
    facts = provenance(run.parents["checkpoint"], run.checkpoint.name)
    facts["stand_in"] |= run.model.made_by is not None
    write_text(folder / "instruction.txt", run.prompt.instruction)
    write_text(folder / "README.md", card(run, public_name(run.model), facts))
    if settings.output:
        shutil.copytree(folder, settings.output, dirs_exist_ok=True)
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    run.note(f"{sum(files.values()) / 2**20:.1f} MiB in {folder}")
    return {"files": files, "checkpoint": run.parents["checkpoint"].name, **facts}


def provenance(trained: Path, checkpoint: str) -> dict[str, Any]:
    """What the run folders say of a training run: its ancestors, the data cards' digests, and how it was evaluated."""
    lineage = {folder.name: manifest for folder, manifest in ancestors(trained).items() if manifest}
    evaluated = [
        (manifest, _metrics(folder, manifest))
        for folder, manifest in complete_runs(trained.parent)
        if manifest["stage"] == "evaluate"
        and manifest["parents"].get("checkpoint") == trained.name
        and manifest["config"]["checkpoint"]["name"] == checkpoint
    ]
    stages = {name: manifest["stage"] for name, manifest in lineage.items()}
    return {
        "runs": stages,
        "stand_in": "standin" in stages.values(),
        "drawn_films": "phantom" in stages.values(),
        "data_cards": {
            name: manifest["outputs"].get("card.json")
            for name, manifest in lineage.items()
            if manifest["stage"] in ("curate", "teach")
        },
        "metrics": {
            manifest["config"]["dataset"]["name"]: {
                "macro_f1": found["macro"]["f1"],
                "interval": found["intervals"]["macro"]["f1"],
                "micro_f1": found["micro"]["f1"],
                "failure_rate": found["failure_rate"],
                "records": found["records"],
            }
            for manifest, found in evaluated
        },
    }


def _metrics(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    return predictions.summary(predictions.read(folder / predictions.PREDICTIONS), manifest["config"]["dataset"]["findings"])


CARD = """---
base_model: {base}
library_name: {library}
pipeline_tag: image-text-to-text
tags: [chest-x-ray, research-only, chexreason{tags}]
{licence}
---

# {base}, {checkpoint}: findings on chest radiographs with reasoning

**Research only.** This is no medical device, and none of its outputs is a diagnosis.
{warnings}
Trained with ChexReason: {how}. Its answers name findings among CheXpert's 14; ask it with the instruction that it was
trained on (`instruction.txt`) and read its answer with ChexReason's parser (grammar `{grammar}`):

```
{instruction}
```

In this folder, with a film in `film.png`{needs}:

```python
{snippet}
```

## Training data

{cards}

The digests are those of the data cards (`card.json`) that the training runs left; images and reports are under the data-use
agreements of their sites and are not part of this export.

## Evaluation

{metrics}

## Intended use and limits

- For research on reasoning-trained vision-language models, on data whose agreements allow it. Not for patients.
- Frontal radiographs (AP or PA). What is absent from an answer was not named: that is no statement of its absence.
- A reward on one site's labels teaches that site's labelling habits: expect other numbers on other sites, and measure.
- The reasoning is text that a model has learnt to write before its answer. It need not be why it answers so.
- The licences of the base model and of the data hold for this export too.
"""

STAND_IN = """
> **A stand-in.** Its base is no published model but a small network of the same architecture, made to try the code on.
> Nothing that it writes says anything about a patient or about the model that it stands in for.
"""

DRAWN = """
> **Drawn films.** It was trained on computer drawings in place of radiographs. No number below can be compared with the
> paper's, nor with that of a model that has seen radiographs.
"""

SNIPPET = """from pathlib import Path

from PIL import Image
{imports}

folder = "."  # this one, or its name on the hub
{model}
processor = AutoProcessor.from_pretrained(folder)
question = [{{"type": "image"}}, {{"type": "text", "text": Path("instruction.txt").read_text()}}]
chat = processor.apply_chat_template([{{"role": "user", "content": question}}], tokenize=False, add_generation_prompt=True)
film = Image.open("film.png").convert("RGB")
# The chat template has written the special tokens already; a second <bos> would shift what the model reads.
inputs = processor(images=[film], text=[chat], return_tensors="pt", add_special_tokens=False).to(model.dtype)
written = model.generate(**inputs, max_new_tokens=1024, do_sample=False, repetition_penalty=1.0)
print(processor.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))"""

MERGED = "model = AutoModelForImageTextToText.from_pretrained(folder)"
ADAPTER = 'model = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained("{base}"), folder)'


def snippet(merged: bool, base: str) -> str:
    """A program that answers one film."""
    imports = "from transformers import AutoModelForImageTextToText, AutoProcessor"
    if merged:
        return SNIPPET.format(imports=imports, model=MERGED)
    return SNIPPET.format(imports=f"from peft import PeftModel\n{imports}", model=ADAPTER.format(base=base))


def base_licence(weights: str) -> dict[str, str]:
    """What the base's own card says of its licence, by the hub's names; `license: unknown` where it says nothing."""
    from huggingface_hub import ModelCard, try_to_load_from_cache

    card = Path(weights) / "README.md" if Path(weights).is_dir() else try_to_load_from_cache(weights, "README.md")
    said = ModelCard.load(card).data.to_dict() if isinstance(card, Path | str) and Path(card).is_file() else {}
    found = {name: str(said[name]) for name in ("license", "license_name", "license_link") if said.get(name)}
    return found or {"license": "unknown"}


def card(run: Run, base: str, facts: dict[str, Any]) -> str:
    """The model card, in Markdown with the hub's front matter."""
    stages = [stage for stage in ("sft", "grpo") if stage in facts["runs"].values()]
    cards = [f"- `{name}`: sha256 `{digest}`" for name, digest in facts["data_cards"].items()]
    head = ("dataset", "records", "macro-F1 [95 % interval]", "micro-F1", "failures")
    rows = []
    for name, found in facts["metrics"].items():
        macro = "{:.3f} [{:.3f}, {:.3f}]".format(found["macro_f1"], *found["interval"])
        rows.append([name, found["records"], macro, f"{found['micro_f1']:.3f}", f"{found['failure_rate']:.3f}"])
    warnings = {"stand-in": STAND_IN, "drawn-films": DRAWN}
    told = [name for name, holds in (("stand-in", facts["stand_in"]), ("drawn-films", facts["drawn_films"])) if holds]
    return CARD.format(
        base=base,
        library="transformers" if run.settings.merged else "peft",
        tags="".join(f", {name}" for name in told),
        licence="\n".join(f"{name}: {value}" for name, value in base_licence(run.model.weights).items()),
        warnings="".join(warnings[name] for name in told),
        checkpoint=run.checkpoint.name,
        how=" and ".join(stages) + " on the language model's LoRA adapter, the vision encoder frozen",
        grammar=run.prompt.grammar,
        instruction=run.prompt.instruction.strip(),
        needs=" (its video processor, which no film needs, wants torchvision)" if run.model.family != "gemma3" else "",
        snippet=snippet(run.settings.merged, base),
        cards="\n".join(cards) or "No data card was found beside the training run.",
        metrics=markdown_table(head, rows) if rows else "No evaluation of this checkpoint was found beside the training run.",
    )
