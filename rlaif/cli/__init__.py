"""The `rlaif` command: parses, calls stages, prints."""

import sys
import warnings

import typer

from rlaif.cli import (
    audit,
    calibration,
    constitution,
    evaluate,
    judging,
    ledger,
    models,
    money,
    pocket,
    prompts,
    rates,
    recipe,
    revising,
    reward_model,
    sampling,
    training,
)
from rlaif.cli.say import say
from rlaif.errors import RlaifError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="AI feedback: label data with an LLM, and train on the labels.",
)
app.add_typer(sampling.app)
app.add_typer(judging.app)
app.add_typer(revising.app)
app.add_typer(money.app)
app.add_typer(models.app)
app.add_typer(audit.app, name="audit")
app.add_typer(calibration.app)
evaluate.app.add_typer(rates.app)
evaluate.app.add_typer(reward_model.app)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(evaluate.report_app)
app.add_typer(prompts.app)
app.add_typer(recipe.app)
app.add_typer(training.app, name="train")
app.add_typer(ledger.app, name="ledger")
app.add_typer(pocket.app, name="pocket")
app.add_typer(constitution.app, name="constitution")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line: our errors in one line and exit code 2, a bug with its traceback.

    Args:
        arguments: the words after `rlaif`; those of the process if None.
    """
    warnings.showwarning = lambda message, *_: say.print(f"warning: {message}", markup=False)
    try:
        app(arguments)
    except RlaifError as error:
        say.print(f"error: {' '.join(str(error).split())}", markup=False)
        sys.exit(2)
