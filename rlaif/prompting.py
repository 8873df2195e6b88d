"""A task is a folder of prompts: load it, check it, render it.

A labeling prompt has the parts of arXiv:2309.00267, section 3.1: a preamble, exemplars, the sample and an
ending. What is the same for every item of a run (preamble and exemplars) is `shared`, the rest is the
`question`; the ending's last line is where the model's own text starts, the `continuation`.

    prompts/<task>/
      task.yaml                  title, description, headings, verdict_pattern, score_pattern
      preamble_base.j2           preamble_detailed.j2            score_preamble.j2
      sample.j2                  (query, response_1, response_2)  score_sample.j2 (query, response)
      ending.j2                  rationale_ending.j2              score_ending.j2  score_rationale_ending.j2
      exemplars.yaml             each with a preferred response, a scored one, and rationales
      harmless_question.j2       optional: what harmless means, and as its last line the ending of a yes-or-no question

Texts under judgement are data. They enter templates as variables of a sandboxed, strict Jinja environment,
and each of their lines after the first is indented, so that only the template can start a line: no text can
imitate a heading, another response or a verdict. A template must put a label before each of them.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

import jinja2
import yaml
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rlaif.errors import PromptError, did_you_mean
from rlaif.records import Query, Turn

Preamble = Literal["base", "detailed"]
Judgement = Literal["preference", "score", "harmless"]
ModelT = TypeVar("ModelT", bound=BaseModel)

INDENT = "    "
"""Before each line of a text under judgement, but for its first."""
_PARTS: dict[str, tuple[str, ...]] = {
    "preamble_base": (),
    "preamble_detailed": (),
    "sample": ("query", "response_1", "response_2"),
    "ending": (),
    "rationale_ending": (),
    "score_preamble": (),
    "score_sample": ("query", "response"),
    "score_ending": (),
    "score_rationale_ending": (),
}
_OPTIONAL: dict[str, tuple[str, ...]] = {"harmless_question": ()}
_VERDICTS: dict[Judgement, tuple[str, ...]] = {
    "preference": ("1", "2"),
    "score": tuple(str(score) for score in range(1, 11)),
    "harmless": ("yes", "no"),
}


class Scored(BaseModel):
    """The score part of an exemplar."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    response: Literal[1, 2]
    score: Annotated[int, Field(ge=1, le=10)]
    rationale: str


class Exemplar(BaseModel):
    """One worked example, as in `exemplars.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    query: Query
    response_1: str
    response_2: str
    preferred: Literal[1, 2]
    rationale: str
    scored: Scored


class TaskFile(BaseModel):
    """`task.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    title: str
    description: str
    exemplar_heading: str
    sample_heading: str
    verdict_pattern: str
    score_pattern: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model reads: `shared` + `question`, then its own text, which starts with `continuation`."""

    shared: str
    question: str
    continuation: str

    @property
    def text(self) -> str:
        """The whole as one text, as a model without a chat template reads it."""
        return f"{self.shared}{self.question}\n\n{self.continuation}"

    @property
    def sha256(self) -> str:
        """The hash of the whole text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def as_data(text: str) -> str:
    """A text as it stands in a prompt: its lines after the first are indented.

    Args:
        text: any text.

    Returns:
        The text, in which no line but the first starts at the margin, whatever separates lines
        (including form feeds and Unicode's separators).
    """
    return ("\n" + INDENT).join(text.rstrip().splitlines()) if text else text


class VerdictPrompter(Protocol):
    """What a verdict needs of who renders its prompts: a task's `Prompter`, or that of a constitution."""

    @property
    def rationale(self) -> bool:
        """Whether the model first writes a rationale."""
        ...

    @property
    def ending(self) -> str:
        """What the verdict stands behind."""
        ...

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The answers that are offered."""
        ...

    @property
    def pattern(self) -> re.Pattern[str]:
        """What a written verdict looks like, with one group."""
        ...

    @property
    def about(self) -> str:
        """What is asked, in words, for messages."""
        ...

    @property
    def sha256(self) -> str:
        """The hash of everything that is not data."""
        ...

    def ask(self, query: Sequence[Turn], *responses: str) -> Prompt:
        """The first prompt for one item: for its rationale where one is wanted, else for its verdict."""
        ...

    def conclude(self, prompt: Prompt, rationale: str) -> Prompt:
        """The second prompt: the first with the rationale that was written, then the ending."""
        ...


PLACEHOLDERS = (
    Turn(role="user", content="U1"),
    Turn(role="assistant", content="A1"),
    Turn(role="user", content="U2"),
)
"""A conversation that stands for any, where the hash of a layout is taken."""


def layout_sha256(first: Prompt, second: Prompt) -> str:
    """The hash of a way to ask: of its two prompts for placeholders.

    Args:
        first: what is asked of `PLACEHOLDERS` and responses R1 (and R2).
        second: the same with the rationale W.
    """
    return hashlib.sha256(f"{first.text}\0{second.text}".encode()).hexdigest()


class Task:
    """The prompts of one labeling task."""

    def __init__(self, folder: Path) -> None:
        """Load and check a task folder.

        Args:
            folder: holds the files named in the module's docstring.

        Raises:
            PromptError: a file is missing or wrong; says which and why.
        """
        self.folder = folder
        self.name = folder.resolve().name
        self._environment = ImmutableSandboxedEnvironment(
            undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
        )
        self.settings = _load_yaml(folder / "task.yaml", TaskFile)
        self.verdict_pattern = self._pattern("verdict_pattern")
        self.score_pattern = self._pattern("score_pattern")
        optional = (part for part in _OPTIONAL if (folder / f"{part}.j2").exists())
        self._parts = {part: self._load_template(part) for part in (*_PARTS, *optional)}
        self._heading = self._compile(folder / "task.yaml", self.settings.exemplar_heading, ("number",))
        self.exemplars = self._load_exemplars()
        self._check_margins()

    def _pattern(self, name: str) -> re.Pattern[str]:
        where = f"{self.folder / 'task.yaml'}: {name}"
        try:
            pattern = re.compile(getattr(self.settings, name))
        except re.error as error:
            raise PromptError(f"{where} is not a regular expression ({error})") from error
        if pattern.groups != 1:
            raise PromptError(f"{where} has {pattern.groups} groups; it needs one, around the verdict")
        return pattern

    def _load_template(self, part: str) -> jinja2.Template:
        path = self.folder / f"{part}.j2"
        return self._compile(path, _read(path), (_PARTS | _OPTIONAL)[part])

    def _compile(self, path: Path, source: str, variables: tuple[str, ...]) -> jinja2.Template:
        try:
            tree = self._environment.parse(source)
            template = self._environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise PromptError(f"{path}:{error.lineno}: {error.message}") from error
        used = meta.find_undeclared_variables(tree)
        for name in sorted(used - set(variables)):
            known = did_you_mean(name, variables) if variables else "; this part has no variables"
            raise PromptError(f"{path}: {name} is not a variable of this part{known}")
        for name in variables:
            if name not in used:
                raise PromptError(f"{path}: never uses {{{{ {name} }}}}, which this part must show")
        return template

    def _load_exemplars(self) -> tuple[Exemplar, ...]:
        path = self.folder / "exemplars.yaml"
        content = _parse_yaml(path)
        if not isinstance(content, list):
            raise PromptError(f"{path}: must be a list of exemplars")
        return tuple(_validate(path, Exemplar, item, f"exemplar {n}: ") for n, item in enumerate(content, 1))

    def _check_margins(self) -> None:
        """A text at the start of a line could imitate the prompt's structure: every one needs a label."""
        turns = (Turn(role="user", content="\ue000"), Turn(role="assistant", content="\ue000"))
        for part in ("sample", "score_sample"):
            for query in (turns, turns[:1], ()):
                data = dict.fromkeys(_PARTS[part], "\ue000") | {"query": query}
                rendered = self.render(part, **data)
                for line in rendered.splitlines():
                    if line.lstrip().startswith("\ue000"):
                        raise PromptError(
                            f"{self.folder / part}.j2: a text stands at the start of a line, where it could imitate "
                            "the prompt's structure; put a label before it, such as 'Response 1 - '"
                        )

    def render(self, part: str, **data: Any) -> str:
        """Render one part.

        Args:
            part: the file's name without `.j2`.
            **data: its variables; texts must be `as_data` already.

        Raises:
            PromptError: the template fails on this data, or the part is an optional one that the task has not.
        """
        if part not in self._parts:
            raise PromptError(
                f"{self.folder / part}.j2: is missing, and this task cannot ask without it; add the file, as "
                f"{packaged_folder('prompts') / 'harmlessness'} has it"
            )
        try:
            return self._parts[part].render(data).strip("\n")
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise PromptError(f"{self.folder / part}.j2: {error}") from error

    def heading(self, number: int) -> str:
        """The heading over an exemplar."""
        return self._heading.render(number=number)


class Prompter:
    """One way to ask about one task: which judgement, preamble, how many exemplars, with a rationale or not."""

    def __init__(
        self,
        task: Task,
        judgement: Judgement,
        preamble: Preamble = "detailed",
        exemplars: int = 0,
        rationale: bool = False,
    ) -> None:
        """Render what all prompts share.

        Args:
            task: the task.
            judgement: a preference between two responses, a score of one, or whether one is harmless.
            preamble: which of the preference preambles; the others have only one.
            exemplars: how many worked examples come before the question.
            rationale: whether the model first writes a rationale.

        Raises:
            PromptError: the task has fewer exemplars, or no question whether a response is harmless.
        """
        if not 0 <= exemplars <= len(task.exemplars):
            raise PromptError(f"{task.folder}: has {len(task.exemplars)} exemplars; {exemplars} were asked for")
        self.task, self.judgement, self.preamble = task, judgement, preamble
        self.exemplars, self.rationale = exemplars, rationale
        self._prefix = "" if judgement == "preference" else "score_"
        if judgement == "harmless":
            instruction, self.ending = _question(task, exemplars, rationale)
            self._rationale_ending = self.ending
        else:
            instruction = task.render(f"preamble_{preamble}" if judgement == "preference" else "score_preamble")
            self.ending = task.render(f"{self._prefix}ending")
            self._rationale_ending = task.render(f"{self._prefix}rationale_ending")
        blocks = [instruction]
        self.shared = ""
        for number, exemplar in enumerate(task.exemplars[:exemplars], 1):
            blocks += [task.heading(number), self._worked(exemplar)]
        if exemplars:
            blocks.append(task.settings.sample_heading)
        self.shared = "\n\n".join(blocks) + "\n\n"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The answers that are offered."""
        return _VERDICTS[self.judgement]

    @property
    def pattern(self) -> re.Pattern[str]:
        """What a written verdict looks like."""
        if self.judgement == "harmless":
            return re.compile(f"(?i:{re.escape(self.ending.strip())}{_YES_OR_NO})")
        return self.task.verdict_pattern if self.judgement == "preference" else self.task.score_pattern

    def ask(self, query: Sequence[Turn], *responses: str) -> Prompt:
        """The first prompt for one item: for its rationale where one is wanted, else for its verdict.

        Args:
            query: the dialogue, oldest turn first; may be empty.
            *responses: two texts in the order shown, or the one to score.

        Returns:
            The prompt.
        """
        *request, continuation = (self._rationale_ending if self.rationale else self.ending).split("\n")
        sample = self._sample(query, responses)
        question = "\n".join([sample, "", *request]).rstrip() if request else sample
        return Prompt(self.shared, question, continuation)

    def conclude(self, prompt: Prompt, rationale: str) -> Prompt:
        """The second prompt: the first with the rationale that was written, then the ending.

        Args:
            prompt: what `ask` returned.
            rationale: the model's text.

        Returns:
            The prompt for the verdict.
        """
        # In one line it can imitate no structure, and takes no more tokens than the model wrote.
        thought = " ".join([prompt.continuation, *rationale.split()])
        return Prompt(prompt.shared, prompt.question, f"{thought}\n\n{self.ending}")

    @cached_property
    def sha256(self) -> str:
        """The hash of everything that is not data: prompts with the same hash ask the same thing."""
        first = self.ask(PLACEHOLDERS, *(("R1", "R2") if self.judgement == "preference" else ("R1",)))
        return layout_sha256(first, self.conclude(first, "W"))

    @property
    def about(self) -> str:
        """What is asked, in words, for messages."""
        return f"task {self.task.name}, {self.judgement}, {self.exemplars} exemplars"

    def _sample(self, query: Sequence[Turn], responses: Sequence[str]) -> str:
        turns = [{"role": turn.role, "content": as_data(turn.content)} for turn in query]
        texts: Mapping[str, str] = (
            {"response_1": as_data(responses[0]), "response_2": as_data(responses[1])}
            if self.judgement == "preference"
            else {"response": as_data(responses[0])}
        )
        return self.task.render(f"{self._prefix}sample", query=turns, **texts)

    def _worked(self, exemplar: Exemplar) -> str:
        if self.judgement == "preference":
            responses: tuple[str, ...] = (exemplar.response_1, exemplar.response_2)
            rationale, verdict = exemplar.rationale, int(exemplar.preferred)
        else:
            scored = exemplar.scored
            responses = (exemplar.response_1 if scored.response == 1 else exemplar.response_2,)
            rationale, verdict = scored.rationale, scored.score
        prompt = self.ask(exemplar.query, *responses)
        if self.rationale:
            prompt = self.conclude(prompt, rationale)
        return f"{prompt.question}\n\n{prompt.continuation}{verdict}"


# Behind the ending, with markdown around it; not "not", and not "yes or no".
_YES_OR_NO = r"""[\s*_`"'()\[\]]*(yes|no)(?![^\W_])(?![ \t*_`"')\]]*(?:/|-|\bor\b)[ \t*_`"'(\[]*(?:yes|no)(?![^\W_]))"""


def _question(task: Task, exemplars: int, rationale: bool) -> tuple[str, str]:
    """What harmless means, and the ending."""
    if exemplars or rationale:
        raise PromptError(f"{task.folder}: the question whether a response is harmless has no exemplars or rationale")
    instruction, _, ending = task.render("harmless_question").rpartition("\n")
    if not instruction.strip() or not ending.strip():
        raise PromptError(
            f"{task.folder / 'harmless_question'}.j2: has only one line; it needs what harmless means, and as its last "
            "line the ending, such as 'Harmless, yes or no='"
        )
    return instruction.strip(), ending


def packaged_folder(name: str) -> Path:
    """Where the package keeps a folder of its own: inside an installed wheel, or beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def load_task(name: str) -> Task:
    """Load a task by name, or by the path of a user's own folder.

    Args:
        name: `summarization`, `helpfulness`, `harmlessness`, or a path.

    Raises:
        PromptError: there is no such task, or its folder is wrong.
    """
    known = {path.name: path for path in sorted(packaged_folder("prompts").iterdir()) if path.is_dir()}
    if name in known:
        return Task(known[name])
    if Path(name).is_dir():
        return Task(Path(name))
    raise PromptError(f"{name} is neither a task nor a folder{did_you_mean(name, known)}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        parts = ", ".join(["task.yaml", *(f"{part}.j2" for part in _PARTS), "exemplars.yaml"])
        raise PromptError(f"{path}: is missing; a task folder holds {parts}") from None
    except UnicodeDecodeError as error:
        raise PromptError(f"{path}: not UTF-8 ({error})") from error


def _parse_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(_read(path))
    except yaml.YAMLError as error:
        raise PromptError(f"{path}: is not YAML ({error})") from error


def _load_yaml(path: Path, model: type[ModelT]) -> ModelT:
    return _validate(path, model, _parse_yaml(path), "")


def _validate(path: Path, model: type[ModelT], content: Any, where: str) -> ModelT:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        wrong = {"missing": "is missing", "extra_forbidden": "is not a field"}.get(first["type"], first["msg"])
        hint = did_you_mean(place, model.model_fields) if first["type"] == "extra_forbidden" else ""
        raise PromptError(f"{path}: {where}{place or 'the content'}: {wrong}{hint}") from None
