"""Dataclasses of the closed config groups; each validates its own values. Those of open groups are defined elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError, above, at_least, one_of, share
from chexreason.families import FAMILIES
from chexreason.parts import refuse_unknown
from chexreason.runs.identity import CIRCUMSTANCE, CONTENT, DESCRIPTION, path_digest


@dataclass
class Pretraining:
    """How a stand-in model is pre-trained: on `images` of a `corpus` (radiographs | shapes), with the steps of both phases.

    `size` of the architecture: small | published. `prompt_share`: share of the language steps that use the study's prompts;
    the others use short questions.
    """

    size: str
    corpus: str
    images: int
    vision_steps: int
    steps: int
    prompt_share: float

    def __post_init__(self) -> None:
        one_of(("small", "published"), pretraining__size=self.size)
        one_of(("radiographs", "shapes"), pretraining__corpus=self.corpus)
        at_least(1, pretraining__images=self.images)
        at_least(0, pretraining__vision_steps=self.vision_steps, pretraining__steps=self.steps)
        share(pretraining__prompt_share=self.prompt_share)


@dataclass(frozen=True)
class Model:
    """A vision-language model: where its weights are and how they are loaded."""

    name: str
    paper_name: str | None = field(metadata=DESCRIPTION)  # what the paper calls it, or the model that it stands in for
    world: str = field(metadata=CIRCUMSTANCE)
    family: str  # one of FAMILIES; determines the processor and the visual-token bounds
    made_by: str | None = field(metadata=CIRCUMSTANCE)  # overrides of the run that makes the weights; None: external
    weights: str = field(metadata=CONTENT)  # a folder (inside that run, when made_by is set) or a hub id
    dtype: str
    attention: str  # transformers' attn_implementation
    min_visual_tokens: int
    max_visual_tokens: int
    image_size: int | None  # longer side in pixels of cached decoded images; None: no cache, full size
    pretraining: Pretraining | None = None

    def __post_init__(self) -> None:
        one_of(FAMILIES, family=self.family)
        one_of(("float32", "bfloat16", "float16", "float64"), dtype=self.dtype)
        if "/" not in self.attention:  # a name with / is a kernel from the hub
            one_of(("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"), attention=self.attention)
        at_least(1, min_visual_tokens=self.min_visual_tokens, image_size=self.image_size)
        at_least(self.min_visual_tokens, max_visual_tokens=self.max_visual_tokens)

    def inputs(self, store: Path | None) -> dict[str, Any]:
        """External weights are identified by the content of their files or, on the hub, by their revision."""
        if self.made_by:
            return {"weights": Path(self.weights).as_posix()}
        from chexreason.models.weights import weights_identity

        return {"weights": weights_identity(self, store)}

    def require(self) -> None:
        """Raises ChexReasonError if external weights are not available."""
        if self.made_by is None:
            from chexreason.models.weights import require_weights

            require_weights(self)


@dataclass(frozen=True)
class Checkpoint:
    """The adapter to load: `adapter` is its folder, inside the run that `made_by` makes if set; None: the base model."""

    name: str
    made_by: str | None = field(metadata=CIRCUMSTANCE)
    adapter: str | None = field(metadata=CONTENT)

    def __post_init__(self) -> None:
        if self.name != "base" and self.adapter is None and self.made_by is None:
            raise ValueError(
                f"name={self.name}: without an adapter it is the base model; set adapter to a folder that holds one"
            )
        if self.name == "base" and (self.adapter is not None or self.made_by is not None):
            raise ValueError(
                "name=base: the model as it comes has no adapter. Choose checkpoint=sft or another one; for an adapter of your "
                "own, add the name that tables are to call it by: checkpoint.name=mine"
            )

    def inputs(self, store: Path | None) -> dict[str, Any]:
        """An external adapter is identified by the content of its files."""
        if self.made_by or self.adapter is None:
            return {"adapter": self.adapter}
        return {"adapter": path_digest(Path(self.adapter), store, without_suffix=".md")}

    def require(self) -> None:
        """Raises ChexReasonError if an external adapter is not available."""
        if self.made_by is not None or self.adapter is None:
            return
        from chexreason.models.weights import ADAPTER, pickled

        for name in ADAPTER:
            if not (folder := Path(self.adapter)).joinpath(name).is_file():
                raise ChexReasonError(
                    f"checkpoint.adapter={self.adapter}: there is no adapter ({name}) in that folder{pickled(folder)}"
                )


@dataclass(frozen=True)
class Engine:
    """The inference engine, transformers | vllm; vLLM takes a share of the GPU's memory, alone or beside training."""

    name: str
    memory: float | None = field(metadata=CIRCUMSTANCE)
    rollout_memory: float | None = field(metadata=CIRCUMSTANCE)

    def __post_init__(self) -> None:
        one_of(("transformers", "vllm"), name=self.name)
        share(memory=self.memory, rollout_memory=self.rollout_memory)
        above(0, memory=self.memory, rollout_memory=self.rollout_memory)

    def require(self) -> None:
        """Raises ChexReasonError where the engine is not installed."""
        if self.name == "vllm" and find_spec("vllm") is None:
            raise ChexReasonError(
                "engine=vllm needs vLLM, on a machine with a GPU: pip install 'chexreason[vllm]'\n"
                "  or do without: engine=transformers"
            )


@dataclass(frozen=True)
class Variant:
    """A variant of training: the paper's own (title None), or an additional one that tables show by its title."""

    name: str
    title: str | None = field(metadata=DESCRIPTION)

    def __post_init__(self) -> None:
        if self.title is None and self.name != "published":
            raise ValueError(f"title=null: null is reserved for variant=published; give {self.name} a title for the tables")


@dataclass(frozen=True)
class Scale:
    """The scale of models and runs and their needs in GB; conf/sized has the settings of other groups that depend on it."""

    name: str
    gpu_gigabytes: float  # required GPU memory; 0: no GPU needed
    run_gigabytes: float  # disk
    min_tokens: int  # |t| of equation 3

    def __post_init__(self) -> None:
        at_least(0, gpu_gigabytes=self.gpu_gigabytes, run_gigabytes=self.run_gigabytes, min_tokens=self.min_tokens)


@dataclass(frozen=True)
class Tracker:
    """Where metrics go besides the run folder."""

    name: str
    mode: str  # offline | online | disabled
    project: str
    group: str

    def __post_init__(self) -> None:
        one_of(("offline", "online", "disabled"), mode=self.mode)


@dataclass(frozen=True)
class World:
    """Which models, datasets and teachers belong together, and which of them fill the roles of an experiment."""

    name: str  # referred to by the `world` key of models, datasets and teachers
    medical: str
    general: str
    arms: str  # several choices, separated by commas
    source: str
    validation: str
    chexpert: str
    nih: str
    others: str  # separated by commas, like arms
    second_site: int
    budget: float | None
    jobs: int

    def __post_init__(self) -> None:
        at_least(1, jobs=self.jobs)
        at_least(0, second_site=self.second_site, budget=self.budget)


@dataclass(frozen=True)
class Sweep:
    """A sweep's name, the tables and figures shown at its end, and a hint on what to try `then`."""

    name: str
    show: list[str] | None
    then: str | None

    def __post_init__(self) -> None:
        refuse_unknown(self.show)
