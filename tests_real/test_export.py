"""An export is what others' tools expect: their AutoProcessor, transformers and vLLM load it, and its card's program runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor

from chexreason.families import family
from chexreason.models.generation import Generator
from chexreason.models.loading import load_adapter, load_model
from chexreason.models.processors import load_processor, resized
from chexreason.prompts import messages
from chexreason.runs.folders import Run
from chexreason.runs.groups import Checkpoint
from chexreason.stages.export import Settings, execute
from tests_real.conftest import PROMPT, Trained, require_vllm

vllm = require_vllm()


@pytest.fixture(scope="module")
def export(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    checkpoint = Checkpoint(name="sft", made_by=None, adapter=str(trained.adapter))
    parents = {"checkpoint": trained.adapter.parent}
    run = Run(
        Settings("export", True, None), folder, model=trained.model, prompt=PROMPT, checkpoint=checkpoint, parents=parents
    )
    execute(run)
    return folder / "export"


def answer(trained: Trained, film: Image.Image) -> str:
    model = load_adapter(load_model(trained.model), trained.adapter)
    return Generator(model, load_processor(trained.model, "left"), PROMPT, trained.max_tokens)([film])[0].text


def test_its_program_answers_as_the_checkpoint_does(
    trained: Trained,
    export: Path,
    films: list[Image.Image],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert type(AutoProcessor.from_pretrained(export)).__name__ == family(trained.model.family).processor.PUBLISHED
    monkeypatch.chdir(export)
    # At its size already: torchvision, which AutoProcessor chooses where it is installed, resizes otherwise than PIL.
    film = resized(load_processor(trained.model), films[1])
    film.save("film.png")
    program = Path("README.md").read_text().split("```python\n")[1].split("```")[0].replace("1024", str(trained.max_tokens))
    capsys.readouterr()
    exec(program, {})
    assert capsys.readouterr().out.strip() == answer(trained, film).strip()


def test_vllm_serves_it_by_its_own_chat(trained: Trained, export: Path, films: list[Image.Image]) -> None:
    llm = vllm.LLM(str(export), dtype="float32", enforce_eager=True, max_model_len=1024, limit_mm_per_prompt={"image": 1})
    film = resized(load_processor(trained.model), films[1])
    content = [{"type": "image_pil", "image_pil": film}, {"type": "text", "text": PROMPT.instruction}]
    how = vllm.SamplingParams(temperature=0, max_tokens=trained.max_tokens)
    (one,) = llm.chat([[{"role": "user", "content": content}]], how, use_tqdm=False)
    processor = load_processor(trained.model)
    turn = messages(PROMPT.instruction)
    text = processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    inputs = processor(images=[[film]], text=[text], return_tensors="pt", add_special_tokens=False)
    assert list(one.prompt_token_ids) == inputs["input_ids"][0].tolist(), "one <bos>, and the image where it belongs"
    assert one.outputs[0].text.strip() == answer(trained, film).strip()


def test_a_folder_with_a_tensor_under_another_name_would_not_load(export: Path, tmp_path: Path) -> None:
    """The check can fail: vLLM refuses the names that a model built from a config used to be saved under."""
    for file in export.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    renamed = {name.replace("vision_model.", "").replace("visual.", "seeing."): weight for name, weight in weights.items()}
    save_file(renamed, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Exception, match="(?i)seeing|vision_tower|weight|parameter"):
        vllm.LLM(str(tmp_path), dtype="float32", enforce_eager=True, max_model_len=1024, limit_mm_per_prompt={"image": 1})
