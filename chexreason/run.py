"""The command-line entry point: compose the config, check it, then run the stage, or Hydra's sweeper for several jobs.

    python -m chexreason.run stage=sft model=medgemma prompt=free_reasoning
    python -m chexreason.run --multirun stage=evaluate dataset=phantom_chexpert,phantom_nih checkpoint=base,sft

Heavy imports happen inside stages, so that showing help, composing a config and reusing a run take under a second.
"""

from __future__ import annotations

import gc
import os
import re
import shlex
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from itertools import product
from pathlib import Path

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from chexreason import __version__
from chexreason.errors import ChexReasonError, reason_last
from chexreason.runs import config as schema
from chexreason.runs import sweep
from chexreason.runs.execute import Lacking, execute
from chexreason.runs.explain import explained
from chexreason.runs.imports import refuse_files
from chexreason.runs.overrides import BUNDLES, key_of, root
from chexreason.runs.plan import plan, refuse_visible_mixture
from chexreason.runs.processes import STREAMS, end_with_starter

DEFAULT = "experiment=demo"  # used if neither a stage nor an experiment is named
# The groups in which a bare word is looked up, the most likely first.
CHOICES = tuple(dict.fromkeys(("stage", "experiment", "model", *BUNDLES, *schema.GROUPS)))
WITH_VALUE = "-cd --config-dir -c --cfg -p --package -cp --config-path -cn --config-name".split()  # flags that take one
FLAGS = [
    *WITH_VALUE,
    *"-h --help --hydra-help --version --run -m --multirun -sc --shell-completion --resolve -i --info".split(),
]
PAIR = re.compile(r"([\w.]+) *= *([^\s=]+)")  # matches one override; PAIRS: several of them in one word
PAIRS = re.compile(rf" *{PAIR.pattern}( +{PAIR.pattern})* *")
INFO = "all config defaults defaults-tree plugins searchpath".split()  # the values that --info accepts


def main() -> None:
    """Console entry point."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises, so that we print our own message below
    _open_streams()
    if isinstance(sys.stdout, TextIOWrapper):  # an unprintable character must not fail a finished run
        sys.stdout.reconfigure(errors="backslashreplace")
    gc.freeze()  # exempt what is imported from garbage collection: scanning it takes a quarter of composing a config
    yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's loader makes composing a fifth faster
    end_with_starter()
    OmegaConf.register_new_resolver("stages", _stages, replace=True)
    OmegaConf.register_new_resolver("groups", _groups, replace=True)
    try:
        _main(sys.argv)
        sys.stdout.flush()
    except ChexReasonError as error:
        sys.exit(f"chexreason: {reason_last(str(error))}")
    except BrokenPipeError:  # the reader closed the pipe, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what Python flushes at exit
        sys.exit(141)  # 128 + SIGPIPE, as other commands
    except OSError as error:
        gone = isinstance(error, FileNotFoundError)
        place = error.filename or ("the current folder" if gone else "standard output")
        unreadable = error.filename and os.path.isfile(error.filename) and not os.access(error.filename, os.R_OK)
        hint = "" if gone or unreadable else " (runs=FOLDER says where run folders go)"
        sys.exit(f"chexreason: {place}: {error.strerror}{hint}")
    except Exception as error:
        if type(error).__name__ != "TerminatedWorkerError":  # joblib's
            raise
        sys.exit(
            "chexreason: a worker of the sweep was killed (out of memory?); the same command keeps what is complete and goes on"
        )
    except KeyboardInterrupt:
        print(f"chexreason: {sweep.INTERRUPTED}", file=sys.stderr)
        sys.exit(130)


def _open_streams() -> None:
    """Open /dev/null in place of each standard stream that was closed when the process started (`>&-`)."""
    for stream in STREAMS:
        try:
            os.fstat(stream)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor, which is this one
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def _main(arguments: list[str]) -> None:
    flags, words = _flags_and_words(arguments[1:])
    if "--version" in flags:
        print(f"chexreason {__version__}")
        return
    if {"-h", "--help", "--hydra-help"} & set(flags):  # help ignores every other override
        words = [word for word in words if root(word) == "hydra"]
    _refuse_bare_words(flags, words)
    own = _own_folders(flags, words)
    refuse_files(own)
    _refuse_folders_of_keys(own, words)
    if any(map(sweep.SEVERAL.match, words)):  # several experiments make one sweep
        flags.append("--multirun")
        # `stage.x=1` refers to the stage that each experiment chooses: as a sweep of one value, Hydra applies it to each job.
        words = [re.sub("=(.*)", r"=choice(\1)", word, flags=re.DOTALL) if _refines(word) else word for word in words]
    if "--cfg" in flags and "--multirun" in flags:
        raise ChexReasonError("--cfg shows one composed config: leave out --multirun, and choose one value for each key")
    words = [word.lstrip("+") if root(word) in CHOICES and "." not in key_of(word) else word for word in words]
    if not any(re.match("(stage|experiment)=", word) for word in words) and "--hydra-help" not in flags:
        words.append(DEFAULT)
    arguments[1:] = [*flags, *words]
    schema.refuse_words(words)
    if "--cfg" in flags and "job" in flags:
        arguments.insert(1, "--resolve")  # show values instead of interpolations
    # Read by own_folders() before Hydra's application starts and after it ends.
    os.environ[schema.FOLDERS] = os.pathsep.join(map(str, _own_folders(flags, words, ("-cd", "--config-d"))))
    try:
        with explained(words, _compose, schema.CONF):
            # --cfg shows a config only if it is valid: check it first.
            shown = schema.check(schema.as_dict(_compose(words))) if "--cfg" in flags else None
            _application()
            if shown and "experiment" not in map(root, words):  # the jobs of an experiment choose their own models
                _warn(shown, words)
    finally:
        del os.environ[schema.FOLDERS]
    if sweep.FAILED:
        raise sweep.FAILED[0]


def _compose(words: Sequence[str]) -> DictConfig:
    return schema.compose([word for word in words if not word.lstrip("+").startswith("hydra.searchpath=")])


def _warn(shown: schema.Config, words: list[str]) -> None:
    """Warn, after a config has been shown, that running it would be refused, and why."""
    try:
        refuse_visible_mixture(shown, words)
    except ChexReasonError as error:
        print(f"chexreason: this would not run: {error}", file=sys.stderr)


@hydra.main(config_path=str(schema.CONF), config_name="config", version_base="1.3")
def _application(cfg: DictConfig) -> None:
    typed = list(HydraConfig.get().overrides.task)
    name = cfg.sweep.name
    if sweep.LINE in cfg:
        typed = shlex.split(cfg[sweep.LINE])
        cfg = schema.compose(typed)
    alone = HydraConfig.get().mode == RunMode.RUN
    try:
        experiment = next((word for word in typed if root(word) == "experiment"), None)
        if alone and experiment and HydraConfig.get().runtime.choices["hydra/launcher"] == "basic":  # Hydra's own default
            raise ChexReasonError(f"{experiment} is no sweep: `- _sweep` is wanted among the defaults of its file")
        if cfg.dry_run:
            print("\n".join(plan(cfg, typed).describe()))
        else:
            execute(cfg, typed)
    except (ChexReasonError, BrokenPipeError) as error:  # in a sweep, the other jobs go on and the sweep reports it
        if alone:
            sweep.FAILED.append(error)
        else:
            said = "what it lacks is listed above" if isinstance(error, Lacking) else error
            print(f"[{name}] failed: {' '.join(typed)}\n  {said}", file=sys.stderr, flush=True)
    if not alone:
        sweep.count_done(name)


def _refines(word: str) -> bool:
    """Whether an override sets a key inside a group (`stage.x=1`) to a single value."""
    value = word.partition("=")[2]
    return root(word) in schema.GROUPS.keys() - {"sweep"} and "." in key_of(word) and not re.match(r"\w+\(", value)


def _flags_and_words(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split arguments into flags, with their values, and overrides: Hydra's parser requires the flags first."""
    flags: list[str] = []
    words: list[str] = []
    waiting = iter(arguments)
    for word in waiting:
        if found := re.fullmatch(r"(--cfg=|-c)(job|hydra|all)", word):
            flags += ["--cfg", found[2]]
            continue
        word = {"-c": "--cfg", "-m": "--multirun"}.get(word, word)
        if word in ("-i", "--info"):
            flags += ["--info", "all"]  # Hydra's default; an override that follows is not its value
            continue
        if word in INFO and flags[-2:] == ["--info", "all"]:
            flags[-1] = word
            continue
        (flags if word.startswith("-") else words).append(word)
        if word in WITH_VALUE:
            value = next(waiting, None)
            if value is None:
                raise ChexReasonError(f"{word}: its value is wanted after it")
            flags.append(value)
    if sum(flag.partition("=")[0] in ("-cd", "--config-dir") for flag in flags) > 1:
        raise ChexReasonError("--config-dir: one folder is taken; more of them by 'hydra.searchpath=[FOLDER,FOLDER]'")
    return flags, words


def _own_folders(flags: list[str], words: list[str], naming: tuple[str, ...] = ("-cd", "-cp", "--config-")) -> list[Path]:
    """The user's config folders, by hydra.searchpath and by flags that begin with one of `naming` (Hydra takes short forms)."""
    named = [flag.partition("=") for flag in flags]
    places = [
        value if equals else next(iter(flags[at + 1 :]), "")
        for at, (flag, equals, value) in enumerate(named)
        if flag.startswith(naming)
    ]
    for word in (word for word in words if word.lstrip("+").startswith("hydra.searchpath=")):
        with explained([word], schema.compose, schema.CONF):
            searched = OverridesParser.create().parse_override(word).value()
            places += [str(one) for one in OmegaConf.create({"places": searched}).places or ()]
    return [Path(one.removeprefix("file://")) for one in places if one]


def _refuse_folders_of_keys(folders: list[Path], words: list[str]) -> None:
    """Raise ChexReasonError if a config folder has a subfolder named like a key: Hydra would take that key for a group."""
    keys = {*map(key_of, words)} & (schema.KEYS.keys() - schema.GROUPS.keys())
    for folder, key in product(folders, sorted(keys)):
        if (folder / key).is_dir():
            raise ChexReasonError(
                f"{key}: {folder / key} is a folder among your choices, and Hydra takes {key}= for a choice of it: keep your "
                "choices (prompt/mine.yaml and the like) in a folder that holds nothing else"
            )


def _refuse_bare_words(flags: list[str], words: list[str]) -> None:
    """Raise ChexReasonError for `sft`, `--stage sft`, `--sft`, `Stage: sft` and the like, suggesting `stage=sft`."""
    keys = {*schema.KEYS, *BUNDLES}
    for flag in flags:
        name, _, value = flag.lstrip("-").replace("-", "_").partition("=")
        is_hydras = any(known.startswith(flag.partition("=")[0]) for known in FLAGS)
        if flag.startswith("-") and (root(name) in keys or not is_hydras):
            value = value or next((word for word in words if "=" not in word), "true")
            meant = _choice(name) if value == "true" else ""
            raise ChexReasonError(f"{flag}: keys have no dashes here. Did you mean {meant or f'{name}={value}'}?")
    for place, word in enumerate(words):
        following = next((one for one in words[place + 1 :] if one != "="), "")
        key = word.rstrip("=:").lower()
        if (word.endswith("=") or key in keys) and following and "=" not in following.lstrip("="):
            meant = f"{key if key in keys else word.rstrip('=')}={following.lstrip('=')}"
            raise ChexReasonError(f"{word} {following}: no blank stands at the =. Did you mean {meant}?")
        if re.match(r"[\w.]+==", word):
            raise ChexReasonError(f"{word}: one = stands between key and value. Did you mean {word.replace('==', '=', 1)}?")
        several = PAIR.findall(word) if " " in word.strip() and PAIRS.fullmatch(word) else []
        if several and all(root(one) in keys for one, _ in several):
            meant = " ".join(map("=".join, several))
            raise ChexReasonError(f"{word}: no blank stands in an override. Did you mean {meant}, each a word of its own?")
        if "=" not in word and not word.startswith("~"):
            if schema.KEYS.get(word) is bool:
                raise ChexReasonError(f"{word}: an override is key=value. Did you mean {word}=true?")
            said = re.fullmatch(r"([\w.]+)(?: *: *| +)(\S+)", word)
            meant = f"{said[1].lower()}={said[2]}" if said and root(said[1].lower()) in keys else ""
            further = [one for one in words[place + 1 :] if re.fullmatch(r"\w+", one)]
            meant = meant or next(filter(None, map(_choice, (word, *further))), "")
            hint = f"Did you mean {meant}?" if meant else "What there is: --help"
            raise ChexReasonError(f"{word}: an override is key=value. {hint}")


def _choice(text: str) -> str:
    """The override `group=choice` for the first word of `text` that names a choice; "" if none does."""
    names = re.split(r"\W+", text.lower())
    return next((f"{group}={name}" for name in names for group in CHOICES if name in schema.choice_names(group)), "")


def _stages() -> str:
    """Every stage with the first line of its file, for --help."""
    lines = []
    for name, file in sorted(schema.choice_files("stage").items()):
        first = next(iter(file.read_text(encoding="utf-8").splitlines()), "")
        lines.append(f"  {name:10} {first.removeprefix('#').strip()}")
    return "\n".join(lines)


def _groups() -> str:
    """Every other group with its choices, for --help."""
    groups = sorted({*schema.GROUPS, *BUNDLES} - {"stage", "sweep"})
    return "\n".join(f"  {name}: {', '.join(schema.choice_names(name))}" for name in groups)


if __name__ == "__main__":
    main()
