"""`rlaif run`: the commands of a recipe, one after another."""

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup

from rlaif.cli.say import print_table, resumable, say
from rlaif.errors import ConfigError, did_you_mean

app = typer.Typer()


@app.command(
    "run",
    epilog="[bold]Examples[/bold]\n\n"
    "rlaif run examples/recipes/labels.yaml\n\n"
    "rlaif run examples/recipes/labels.yaml n=100 labeler=pocket:labeler-s --out outputs/small",
)
def run(
    context: typer.Context,
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE.yaml", help="A folder (out), values, and stages: commands.")
    ],
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE]...", help="Values in place of the recipe's.", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder, in place of the recipe's.")] = None,
) -> None:
    """Run the stages of a recipe; run again to resume.

    A stage is run again only where its command, a file that it reads, or what it wrote has changed.
    """
    from rlaif.errors import StageError
    from rlaif.stages.recipe import run_recipe

    root = context.find_root().command
    assert isinstance(root, TyperGroup)
    pairs = dict(_pair(word) for word in values or [])
    try:
        with resumable():
            ran = run_recipe(recipe, pairs, out=out, check=lambda words: check_command(words, root))
    except StageError as error:
        say.print(f"error: {error}", markup=False, emoji=False)
        raise typer.Exit(error.code) from None
    rows = [
        [one.stage, "as before", "–"] if one.seconds is None else [one.stage, "done", f"{one.seconds:,.1f}"]
        for one in ran
    ]
    print_table(["stage", "this time", "seconds"], rows)


def _pair(word: str) -> tuple[str, str]:
    name, found, value = word.partition("=")
    if not found or not name:
        raise ConfigError(f"{word}: write name=value, for example n=100")
    return name, value


def check_command(words: tuple[str, ...], command: object) -> int:
    """See that words are a command, and that it has the options that they name.

    Args:
        words: those behind `rlaif`.
        command: the whole command line's.

    Returns:
        How many words are the command's name.

    Raises:
        ConfigError: there is no such command or option, or one that the command needs is missing.
    """
    place = 0
    while isinstance(command, TyperGroup):
        name = " ".join(("rlaif", *words[:place]))
        if place == len(words) or words[place].startswith("-"):
            raise ConfigError(f"{name} needs a command{did_you_mean('', command.commands)}")
        if words[place] not in command.commands:
            raise ConfigError(f"{name} has no command {words[place]}{did_you_mean(words[place], command.commands)}")
        command = command.commands[words[place]]
        place += 1
    if isinstance(command, TyperCommand):
        _check_options(words[:place], words[place:], command)
    return place


def _check_options(name: tuple[str, ...], words: tuple[str, ...], command: TyperCommand) -> None:
    """See that options are there, and those that must be: a slip in the last stage shows before the first is paid."""
    typed = " ".join(("rlaif", *name))
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts) if option[:2] == "--"}
    named = [word.partition("=")[0] for word in words if word.startswith("--")]
    for word in named:
        if word not in known:
            raise ConfigError(f"{typed} has no option {word}{did_you_mean(word, known)}")
    for one in command.params:
        if one.required and one.opts[0] in known and not {*one.opts} & {*named}:
            raise ConfigError(f"{typed} needs {one.opts[0]}")
