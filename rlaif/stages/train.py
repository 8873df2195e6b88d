"""Train a model from a config file into a run folder: resumable, and not twice."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from rlaif.config import read
from rlaif.errors import ConfigError, MissingExtraError
from rlaif.io import write_lines
from rlaif.records import Failure
from rlaif.rewards import RewardFn
from rlaif.stages.fingerprints import fingerprint
from rlaif.stages.folder import Folder
from rlaif.stages.labels import records_file
from rlaif.stages.trained_once import trained_once

if TYPE_CHECKING:
    from rlaif.training.data import Examples
    from rlaif.training.dpo import DPOConfig
    from rlaif.training.footprint import Head
    from rlaif.training.reward_model import RewardConfig
    from rlaif.training.sft import SFTConfig

Method = Literal["sft", "reward", "dpo", "ppo", "reinforce"]


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model.

    Attributes:
        out: the run folder.
        model: the model folder in it.
        facts: what the training came to, as it stands in the manifest.
        before: whether it was trained before, and nothing was done now.
    """

    out: Path
    model: Path
    facts: dict[str, Any]
    before: bool


def train(
    method: Method,
    config: Path,
    out: Path,
    *,
    overrides: Sequence[str] = (),
    reward: RewardFn | None = None,
    progress: bool = True,
) -> list[Trained]:
    """Train one model, or several where a reward config names them.

    Started again, it goes on from the last checkpoint; a training that came to its end is left alone.

    Args:
        method: `sft`, `reward`, `dpo`, `ppo` or `reinforce`.
        config: the YAML file (see `SFTConfig`, `RewardConfig`, `DPOConfig`, `PPOConfig`, `ReinforceConfig`).
        out: the run folder; with several models, the folder of their run folders.
        overrides: `section.key=value`, in place of what the file says.
        reward: for `ppo` and `reinforce`, a reward function in place of the config's labeler.
        progress: show it on standard error.

    Returns:
        What was trained.

    Raises:
        ConfigError: a setting is wrong, or the training does not fit into memory.
        InputError: the data cannot be read, or none of it can be used.
        ModelError: the model cannot be found or loaded.
        RunFolderError: the folder holds another run.
        TrainingError: the loss is no number; the last checkpoint is kept.
        KeyboardInterrupt: after Ctrl-C, when a checkpoint is written.
        SystemExit: after SIGTERM, likewise.
    """
    run: Callable[[Any, Path, bool], Trained]
    # No model of a hub is asked for, and nobody is told of a training, whatever the libraries' defaults are.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        match method:
            case "sft":
                from rlaif.training.sft import SFTConfig

                settings: Any = read(SFTConfig, config, overrides)
                run = _sft
            case "reward":
                from rlaif.training.reward_model import RewardConfig

                settings = read(RewardConfig, config, overrides)
                run = _reward
            case "dpo":
                from rlaif.training.dpo import DPOConfig

                settings = read(DPOConfig, config, overrides)
                run = _dpo
            case "ppo" | "reinforce":
                from rlaif.stages.online import PPOConfig, ReinforceConfig, run_online

                settings = read(PPOConfig if method == "ppo" else ReinforceConfig, config, overrides)
                facts, before = run_online(settings, out, reward, progress=progress)
                return [Trained(out, out / "model", facts, before)]
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "trl", "train") from error
    if isinstance(settings.data, dict):
        return [run(_part(settings, name), out / name, progress) for name in settings.data]
    return [run(settings, out, progress)]


def _part(config: Any, name: str) -> Any:
    """The config of one of several reward models."""
    held_out = config.held_out.get(name, ()) if config.held_out else ()
    return config.model_copy(update={"data": config.data[name], "held_out": held_out})


def _sft(config: "SFTConfig", out: Path, progress: bool) -> Trained:
    from rlaif.training.data import read_demonstrations
    from rlaif.training.sft import train_sft

    config = config.model_copy(update={"data": _files(config.data)})

    def work(run: "_Run") -> dict[str, Any]:
        examples = run.read(lambda: read_demonstrations(config.data, run.tokenizer, config.max_tokens, run.progress))
        run.begin(config, "fused")
        done = train_sft(config, examples, run.tokenizer, out, **run.where)
        return {"steps": done.steps}

    return _run("sft", config, out, progress, work)


def _dpo(config: "DPOConfig", out: Path, progress: bool) -> Trained:
    from rlaif.training.data import read_examples
    from rlaif.training.dpo import train_dpo

    config = config.model_copy(update={"data": _files(config.data)})

    def work(run: "_Run") -> dict[str, Any]:
        examples = run.read(
            lambda: read_examples(
                config.data,
                run.tokenizer,
                config.max_tokens,
                config.labels,
                seed=config.optimisation.seed,
                progress=run.progress,
            )
        )
        run.begin(config, "fused")
        done = train_dpo(config, examples, run.tokenizer, out, **run.where)
        return {"steps": done.steps}

    return _run("dpo", config, out, progress, work)


def _reward(config: "RewardConfig", out: Path, progress: bool) -> Trained:
    from rlaif.training.data import read_examples
    from rlaif.training.reward_model import train_reward_model

    data, measured = _files(config.data), _files(config.held_out)
    config = config.model_copy(update={"data": data, "held_out": measured})

    def work(run: "_Run") -> dict[str, Any]:
        seed = config.optimisation.seed
        examples = run.read(
            lambda: read_examples(
                data, run.tokenizer, config.max_tokens, config.labels, config.margin, seed, run.progress
            )
        )
        held_out = None
        if measured:
            held_out = read_examples(measured, run.tokenizer, config.max_tokens, seed=seed)
        run.begin(config, "scalar")
        done = train_reward_model(config, examples, held_out, run.tokenizer, out, **run.where)
        facts: dict[str, Any] = {
            "steps": done.steps,
            "score_scale": done.score_scale,
            "score_shift": done.score_shift,
        }
        if done.accuracy is not None and done.log_loss is not None and held_out is not None:
            facts["held_out"] = {
                "accuracy": done.accuracy._asdict(),
                "log_loss": done.log_loss,
                "rejected": len(held_out.failures),
            }
        return facts

    return _run("reward", config, out, progress, work)


@dataclass(slots=True)
class _Run:
    """One training under way: its tokenizer, its place among the processes, and what reading the data found.

    `folder` is the main process's alone.
    """

    folder: Folder | None
    tokenizer: Any
    device: str
    processes: int
    progress: bool
    examples: "Examples | None" = None
    memory: dict[str, str] = field(default_factory=dict)

    @property
    def where(self) -> dict[str, Any]:
        """What the training functions want to know of the place."""
        return {"device": self.device, "processes": self.processes, "progress": self.progress}

    def begin(self, config: Any, head: "Head") -> None:
        """See that the training fits into memory, before a model is loaded; then make the folder this run's.

        A folder that was refused can be tried again with other settings.

        Raises:
            ConfigError: it cannot fit; says what would help.
        """
        self._plan(config, head)
        if self.folder is not None and self.examples is not None:
            self.folder.write_config(_operation(config))
            write_lines(self.folder.path / "failures.jsonl", (one.to_json() for one in self.examples.failures))

    def _plan(self, config: Any, head: "Head") -> None:
        from rlaif.training.memory import plan, workload
        from rlaif.training.models import find_folder, shares_queries

        rows = self.examples.rows if self.examples is not None else []
        folder = find_folder(config.model)
        together = getattr(config, "share_query", False) and shares_queries(folder)
        most = max(len(row["responses"]) for row in rows)
        found = plan(
            workload(
                folder,
                head,
                config.max_tokens if getattr(config, "packing", False) else max(map(_tokens(together), rows)),
                config.optimisation,
                device=self.device,
                processes=self.processes,
                rows_per_example=1 if together else most,
                responses_per_row=most if together else 1,
                lora_rank=config.lora.rank,
                frozen_layers=config.frozen_layers,
            ),
            self.device,
        )
        self.memory = {name: f"{size}" for name, size in found.rows()}
        if self.progress:
            say = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
            say.print("memory: " + ", ".join(f"{name} {size}" for name, size in found.rows()))
            if not found.fits:
                say.print(f"memory may not suffice; {found.advice()}", markup=False)
        found.check()

    def read(self, reading: Callable[[], "Examples"]) -> "Examples":
        """Read the data, and remember what was found."""
        self.examples = reading()
        return self.examples


def _run(method: Method, config: Any, out: Path, progress: bool, work: Callable[["_Run"], dict[str, Any]]) -> Trained:
    from rlaif.training.fitting import processes
    from rlaif.training.models import find_folder
    from rlaif.training.tokens import Tokenizer

    state, start = processes(), find_folder(config.model)
    _check_context(config, start)

    def run_in(folder: Folder | None, facts: dict[str, Any]) -> None:
        shown = progress and state.is_main_process
        run = _Run(folder, Tokenizer(start), state.device.type, state.num_processes, shown)
        facts["model"] = config.model
        try:
            found = work(run)
        finally:
            facts |= _read(run)
        facts |= found

    facts, before = trained_once(out, _identity(method, config), run_in)
    return Trained(out, out / "model", facts, before)


def _check_context(config: Any, start: Path) -> None:
    from rlaif.generation import context_tokens

    context = context_tokens(start)
    if context is not None and config.max_tokens > context:
        raise ConfigError(f"max_tokens is {config.max_tokens}, but {config.model} takes {context} at most")


def _read(run: _Run) -> dict[str, Any]:
    found = run.examples
    if found is None:
        return {}
    return {
        "examples": len(found.rows),
        "by_source": dict(found.by_source),
        "shortened": found.shortened,
        "failures": dict(_counted(found.failures)),
        "memory": run.memory,
    }


def _tokens(together: bool) -> Callable[[dict[str, Any]], int]:
    """How long an example's longest row is: a response's, or with a shared query all of them."""

    def of(row: dict[str, Any]) -> int:
        responses = [len(response) for response in row["responses"]]
        return len(row["query"]) + (sum(responses) + len(responses) - 1 if together else max(responses))

    return of


def _counted(failures: Sequence[Failure]) -> dict[str, int]:
    kinds = [one.failure for one in failures]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


_MAY_CHANGE = ("micro_batch", "gradient_checkpointing")
"""Settings of the optimisation that may change between two runs of one training."""
_SOURCES = ("data", "held_out")


def _identity(method: Method, config: Any) -> dict[str, Any]:
    """What decides on the result: of a model and of data it is what they hold, not where they are."""
    from rlaif.generation import fingerprint as model_fingerprint
    from rlaif.training.models import find_folder

    settings = config.model_dump(mode="json", exclude={"checkpoints": True, "model": True})
    for name in _MAY_CHANGE:
        settings["optimisation"].pop(name)
    files = {}
    for part in _SOURCES:
        for number, source in enumerate(settings.get(part, ())):
            for name in ("path", "labels"):
                if (path := source.pop(name, None)) is not None:
                    files[f"{part}.{number}.{name}"] = fingerprint(Path(path))
    start = model_fingerprint(find_folder(config.model))
    return {"stage": f"train {method}", "start": start, **settings, "inputs": files}


def _operation(config: Any) -> dict[str, Any]:
    section = {name: getattr(config.optimisation, name) for name in _MAY_CHANGE}
    settings = config.model_dump(mode="json")
    places = {name: settings[name] for name in ("model", *_SOURCES) if name in settings}
    return {**places, "checkpoints": config.checkpoints.model_dump(mode="json"), "optimisation": section}


def _files(sources: Any) -> Any:
    """The sources with run folders replaced by the records in them."""
    return tuple(one.model_copy(update={"path": records_file(one.path)}) for one in sources)
