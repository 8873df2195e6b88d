"""`rlaif train`: supervised models, reward models, and policies optimised directly on preferences."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from rlaif.cli.say import resumable

app = typer.Typer(no_args_is_help=True, help="Train a model: supervised, a reward model, or directly on preferences.")

ConfigFile = Annotated[Path, typer.Argument(help="A YAML file of settings; see examples/training/.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Settings in place of the file's: optimisation.learning_rate=1e-4 …")
]
Out = Annotated[Path, typer.Option("--out", help="The run folder; the trained model is in its model/.")]

_AGAIN = "The same command again goes on from the last checkpoint."


@app.command(
    "sft",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif train sft examples/training/sft.yaml --out outputs/sft\n\n"
    "rlaif train sft examples/training/sft.yaml lora.rank=8 packing=true --out outputs/sft-lora",
)
def sft(config: ConfigFile, out: Out, overrides: Overrides = None) -> None:
    """Train a policy on responses (query and response, prompt and completion, or messages)."""
    _train("sft", config, out, overrides)


@app.command(
    "reward",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif train reward examples/training/reward.yaml --out outputs/reward\n\n"
    "rlaif train reward examples/training/reward.yaml labels=hard optimisation.epochs=2 --out outputs/hard",
)
def reward(config: ConfigFile, out: Out, overrides: Overrides = None) -> None:
    """Train a reward model on soft or hard labels, by an LLM, by people, or both."""
    _train("reward", config, out, overrides)


@app.command(
    "dpo",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif train dpo examples/training/dpo.yaml --out outputs/dpo\n\n"
    "rlaif train dpo examples/training/dpo.yaml beta=0.05 loss=ipo --out outputs/ipo",
)
def dpo(config: ConfigFile, out: Out, overrides: Overrides = None) -> None:
    """Train a policy directly on soft preferences."""
    _train("dpo", config, out, overrides)


@app.command(
    "ppo",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif train ppo examples/direct.yaml --out outputs/direct\n\n"
    "rlaif train ppo examples/direct.yaml steps=20 kl.kl_coef=0.1 labeler.llm=pocket:labeler-s --out outputs/try",
)
def ppo(config: ConfigFile, out: Out, overrides: Overrides = None) -> None:
    """Train a policy by PPO whose reward is a labeler's score, asked for live, or a reward model's."""
    _train("ppo", config, out, overrides)


@app.command(
    "reinforce",
    epilog="[bold]Examples[/bold]\n\nrlaif train reinforce examples/reinforce.yaml --out outputs/reinforce",
)
def reinforce(config: ConfigFile, out: Out, overrides: Overrides = None) -> None:
    """Train a policy by REINFORCE with a learned baseline, as arXiv:2309.00267 did."""
    _train("reinforce", config, out, overrides)


def _train(method: Any, config: Path, out: Path, overrides: list[str] | None) -> None:
    from rlaif.stages.train import train

    with resumable():
        trained = train(method, config, out, overrides=overrides or ())
    # Of several processes (torchrun) one speaks.
    if os.environ.get("RANK", "0") == "0":
        for one in trained:
            _print(one.out, one.model, one.facts, one.before)


def _print(out: Path, model: Path, facts: dict[str, Any], before: bool) -> None:
    if "queries" in facts:
        done = "trained before" if before else "trained"
        typer.echo(f"{model}: {done}, {facts['steps']:,} steps on {facts['queries']:,} queries")
        if facts["rejected"]:
            typer.echo(f"{out / 'rejected.jsonl'}: {facts['rejected']:,} rows that could not be answered, and why")
        if (out / "report.html").is_file():
            typer.echo(f"{out / 'report.html'}: how it went, to read")
        return
    sources = ", ".join(f"{rows:,} of {path}" for path, rows in facts["by_source"].items())
    typer.echo(f"{model}: {'trained before' if before else 'trained'}, {facts['steps']:,} steps on {sources}")
    if facts["failures"]:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in facts["failures"].items())
        typer.echo(f"{out / 'failures.jsonl'}: {kinds} rows that could not be learned from, and why")
    if facts["shortened"]:
        typer.echo(f"{facts['shortened']:,} queries were too long and lost tokens from their left")
    if (held_out := facts.get("held_out")) is not None:
        found = held_out["accuracy"]
        if found["value"] is not None:
            interval = f"{found['low']:.3f}-{found['high']:.3f}, n = {found['n']:,}"
            typer.echo(f"held out: accuracy {found['value']:.3f} ({interval}), log loss {held_out['log_loss']:.3f}")
