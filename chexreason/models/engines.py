"""What writes completions: transformers or, on a GPU server, vLLM."""

from __future__ import annotations

from importlib.util import find_spec

from chexreason.errors import ChexReasonError

ENGINES = ("transformers", "vllm")


def require_engine(engine: str) -> None:
    """Check, without importing it, that `engine` is there.

    Raises:
        ChexReasonError: there is no such engine, or vLLM is not installed.
    """
    if engine not in ENGINES:
        raise ChexReasonError(f"engine.name={engine}: there is no such engine. Valid: {', '.join(ENGINES)}")
    if engine == "vllm" and find_spec("vllm") is None:
        raise ChexReasonError(
            "engine=vllm needs vLLM, on a machine with a GPU: pip install 'chexreason[vllm]'\n"
            "  or do without: engine=transformers"
        )
