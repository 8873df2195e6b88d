"""What is said beside the results: on standard error, so that results can be piped."""

from rich.console import Console

say = Console(stderr=True, soft_wrap=True, highlight=False)
