"""A trained checkpoint in the layout that the hub and vLLM expect: weights, processor and a model card.

Leaves `export/`: a merged model (merged in float32, then rounded once to the model's own precision) or the adapter alone.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason import marks, pages
from chexreason.answers import predictions
from chexreason.runs.files import require_output_folder, write_text
from chexreason.runs.folders import Run, ancestors, changed, complete_runs, leave, read_manifest
from chexreason.runs.identity import CIRCUMSTANCE

if TYPE_CHECKING:
    from chexreason.runs.plan import Plan

EXPORT = "export"
CARD = Path(__file__).with_name("export.md.j2")


@dataclass(frozen=True)
class Settings:
    """Which checkpoint, and in which form."""

    name: str
    merged: bool
    output: str | None = field(metadata=CIRCUMSTANCE)

    def require(self) -> None:
        """Raises ChexReasonError if `output` cannot be written."""
        require_output_folder(self.output)


USES = ("model", "prompt", "checkpoint")
TORCH = True


def lacks(_: Settings, used: dict[str, Any], parents: dict[str, Plan]) -> list[str]:
    """Why there is nothing to export."""
    if used["checkpoint"].adapter is None:
        return ["checkpoint=base is the model as it comes: choose checkpoint=sft, grpo or grpo_best"]
    if "checkpoint" not in parents:
        return [
            f"checkpoint={used['checkpoint'].name}: export needs a checkpoint trained by a run here, because the model card "
            "reports its training"
        ]
    return []


def execute(run: Run) -> dict[str, Any]:
    """Write `export/`; returns its files and their size."""
    import torch
    from transformers import GenerationConfig

    from chexreason.models.loading import load_adapter, load_model, public_name, require_adapter, save_adapter
    from chexreason.models.processors import load_processor

    settings: Settings = run.settings
    folder = run.folder / EXPORT
    shutil.rmtree(folder, ignore_errors=True)
    adapter = require_adapter(Path(run.checkpoint.adapter))
    # Merge in float32, so that the sum is rounded once, independent of the adapter's precision and of PEFT. (PEFT's own sum in
    # bfloat16 with a float32 adapter is the same to the bit; what lies below half a step of bfloat16 is lost either way.)
    model = load_adapter(load_model(replace(run.model, dtype="float32")), adapter)
    if settings.merged:
        model.merge_and_unload().to(getattr(torch, run.model.dtype)).save_pretrained(folder)
    else:
        save_adapter(model, folder, run.model)
    load_processor(run.model, padding_side="left").save_pretrained(folder)
    if settings.merged:  # those of the base model, which load_model omits
        GenerationConfig.from_pretrained(run.model.weights).save_pretrained(folder)
    facts = {"marks": marks.of_run(run), **provenance(run.parents["checkpoint"], run.checkpoint.name, run.prompt.name)}
    write_text(folder / "instruction.txt", run.prompt.instruction)
    write_text(folder / "README.md", card(run, public_name(run.model), facts))
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    run.note(f"{sum(files.values()) / 2**20:.1f} MiB in {folder}")
    return {"files": files, "checkpoint": run.parents["checkpoint"].name, **facts}


def outdated(folder: Path) -> str | None:
    """A model card that lacks a later evaluation of its checkpoint, as a message."""
    manifest = read_manifest(folder) or {}
    config, trained = manifest["config"], folder.parent / manifest["parents"]["checkpoint"]
    now = {one.name for one, _ in _evaluations(trained, config["checkpoint"]["name"], config["prompt"]["name"])}
    lacking = now.difference(manifest["metrics"].get("evaluations", ()))
    return f"{folder / EXPORT / 'README.md'} is from before {min(lacking)} was made" if lacking else None


def deliver(folder: Path, output: Path) -> None:
    """Copy the exported model to the folder that the user named."""
    made = folder / EXPORT
    leave({path.relative_to(made).as_posix(): path for path in made.rglob("*") if path.is_file()}, output)


def provenance(trained: Path, checkpoint: str, prompt: str) -> dict[str, Any]:
    """The provenance of a training run: its ancestors, the digests of its data cards, and its evaluations.

    Only evaluations with greedy answers to every record and the export's prompt count; for each dataset, the last one.
    """
    lineage = {folder.name: manifest for folder, manifest in ancestors(trained).items() if manifest}
    evaluations = _evaluations(trained, checkpoint, prompt)
    evaluated = [(manifest, _metrics(folder, manifest)) for folder, manifest in evaluations]
    stages = {name: manifest["stage"] for name, manifest in lineage.items()}
    sets = {(one["name"], *sorted(one["findings"])) for one in (manifest["config"]["dataset"] for manifest, _ in evaluated)}
    several = {name for name, count in Counter(name for name, *_ in sets).items() if count > 1}
    return {
        "runs": stages,
        "evaluations": [folder.name for folder, _ in evaluations],
        "data_cards": {
            name: manifest["outputs"].get("card.json")
            for name, manifest in lineage.items()
            if manifest["stage"] in ("curate", "teach")
        },
        "metrics": {
            _scored_on(manifest["config"]["dataset"], several): {
                "macro_f1": found["macro"]["f1"],
                "interval": found["intervals"]["macro"]["f1"],
                "micro_f1": found["micro"]["f1"],
                "failure_rate": found["failure_rate"],
                "records": found["records"],
            }
            for manifest, found in evaluated
        },
    }


def _evaluations(trained: Path, checkpoint: str, prompt: str) -> list[tuple[Path, dict[str, Any]]]:
    """The evaluations of a checkpoint that its card reports, with their manifests, in the order in which they were made."""
    from chexreason.report.study import how_asked

    return [
        (folder, manifest)
        for folder, manifest in complete_runs(trained.parent)
        if manifest["stage"] == "evaluate"
        and manifest["parents"].get("checkpoint") == trained.name
        and manifest["config"]["checkpoint"]["name"] == checkpoint
        and manifest["config"]["prompt"]["name"] == prompt
        and not how_asked(manifest["config"])
        and not changed(folder)
    ]


def _scored_on(dataset: dict[str, Any], several: set[str]) -> str:
    """A dataset's name; if it is in `several`, i.e. scored on different sets of findings, with the findings."""
    return f"{dataset['name']} ({', '.join(dataset['findings'])})" if dataset["name"] in several else dataset["name"]


def _metrics(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    return predictions.summary(predictions.read(folder / predictions.PREDICTIONS), manifest["config"]["dataset"]["findings"])


def base_licence(weights: str) -> dict[str, str]:
    """The licence fields of the base model's card, by the hub's names; `license: unknown` if it has none."""
    said = marks.front_matter(weights)
    found = {name: str(said[name]) for name in ("license", "license_name", "license_link") if said.get(name)}
    return found or {"license": "unknown"}


def card(run: Run, base: str, facts: dict[str, Any]) -> str:
    """The model card, in Markdown with the hub's front matter."""
    local = Path(run.model.weights).is_dir()
    head = ("dataset", "records", "macro-F1 [95 % interval]", "micro-F1", "failures")
    rows = []
    for name, found in facts["metrics"].items():
        macro = "{:.3f} [{:.3f}, {:.3f}]".format(found["macro_f1"], *found["interval"])
        rows.append([name, found["records"], macro, f"{found['micro_f1']:.3f}", f"{found['failure_rate']:.3f}"])
    return pages.markdown(
        CARD,
        base=base,
        hub=None if local else base,
        weights=json.dumps(str(Path(run.model.weights).absolute()) if local else base),
        merged=run.settings.merged,
        family=run.model.family,
        licence=base_licence(run.model.weights),
        checkpoint=run.checkpoint.name,
        prompt=run.prompt,
        stages=[stage for stage in ("sft", "grpo") if stage in facts["runs"].values()],
        metrics=pages.markdown_table(head, rows) if rows else "",
        data_cards=facts["data_cards"],
        marks=facts["marks"],
    )
