"""Chains of critique and revision (arXiv:2212.08073, section 3.1): the first stage of Constitutional AI.

A response, given or sampled, is criticised by one principle's critique request and rewritten by its revision request;
then the revision by another principle, and so on. Which principle a round gets, and what is drawn in it, depends on
the seed, the item's id and the round, and on nothing else.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from rlaif.config import Config, build
from rlaif.constitution.asking import RevisionPrompter, texts_sha256
from rlaif.constitution.files import load_constitution
from rlaif.constitution.flags import LOST, at_the_margin, of_critique, of_revision, own_words
from rlaif.constitution.principles import Constitution, draw
from rlaif.errors import CapabilityError, ModelError, RowError
from rlaif.labeling.verdict import draw_seed, request
from rlaif.llm.base import LLM, Answer, Generate, NoAnswer, Outcome, Request, Usage
from rlaif.llm.open import open_llm
from rlaif.llm.run import Ask
from rlaif.prompting import Prompt
from rlaif.records import (
    Draft,
    Failure,
    FailureKind,
    Flag,
    RevisionChain,
    RevisionStep,
    check_draft,
)

WhenFlagged = Literal["keep_last_good", "end", "fail"]


class RevisionConfig(Config):
    """How chains are asked for.

    Attributes:
        revisions: rounds of each chain; arXiv:2212.08073 takes 4.
        critique: whether a critique comes before each revision.
        exemplars: worked rounds in the prompt; models that were not taught to follow instructions need them.
        temperature: of critiques, revisions and sampled responses; 0 takes the likeliest token each time.
        top_p: draw from the likeliest tokens whose mass reaches it; 1 draws from all.
        max_tokens: the most tokens of a response and of a revision.
        max_critique_tokens: the same of a critique.
        when_flagged: after a round that brought no revision go on from the last good response, `end` the chain with
            it, or let the whole item `fail`.
        seed: of everything that is drawn, together with the item's id and the round.
    """

    revisions: int = Field(default=4, ge=1)
    critique: bool = True
    exemplars: int = Field(default=0, ge=0)
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=512, ge=1)
    max_critique_tokens: int = Field(default=256, ge=1)
    when_flagged: WhenFlagged = "keep_last_good"
    seed: int = Field(default=0, ge=0)

    @property
    def answers(self) -> int:
        """How many answers of a model one chain waits for at once."""
        return 1


class _Round(NamedTuple):
    """A round, what it took, and why there is none, where there is none."""

    step: RevisionStep | None
    usage: Usage
    failed: NoAnswer | None = None
    version: str = ""


class Reviser:
    """Criticises and revises responses by a constitution.

    >>> reviser = Reviser("harmless", "pocket:reviser", revisions=2)
    >>> summary = judge_file(reviser, "outputs/samples/samples.jsonl", Path("outputs/revised"))
    """

    record: ClassVar[type[RevisionChain]] = RevisionChain
    item: ClassVar[type[Draft]] = Draft

    def __init__(
        self,
        constitution: str | Constitution,
        llm: str | LLM = "pocket:reviser",
        *,
        ledger: str | Path | None = None,
        **settings: Any,
    ) -> None:
        """Load the constitution and check the model; nothing is asked yet.

        Args:
            constitution: a name, the path of a file or folder, or a loaded constitution.
            llm: `provider:model`, or a model: writes responses where there are none, critiques and revisions.
            ledger: a SQLite file in which answers are kept, so that none is asked twice.
            **settings: the fields of `RevisionConfig`.

        Raises:
            ConfigError: there is no such constitution, it has no principles to revise by or fewer exemplars, or a
                setting is unknown or out of range.
            ModelError: the model is unknown or incomplete.
            CapabilityError: the model cannot do what the settings want.
        """
        self.config = build(RevisionConfig, settings, "Reviser")
        self.constitution = (
            constitution if isinstance(constitution, Constitution) else load_constitution(str(constitution))
        )
        draw(self.constitution, "revision", self.config.seed, "", 0)  # it has some
        self.prompter = RevisionPrompter(self.constitution, self.config.exemplars, self.config.critique)
        self.llm = open_llm(llm) if isinstance(llm, str) else llm
        self.ledger = Path(ledger) if ledger is not None else None
        if not self.llm.capabilities.temperature and (self.config.temperature, self.config.top_p) != (1.0, 1.0):
            raise CapabilityError(
                f"{self.llm.name} takes neither temperature nor top_p; leave both at 1, or name another model"
            )

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that can change a chain, apart from the item itself."""
        return {
            "settings": self.config.model_dump(),
            "constitution": self.constitution.title,
            "constitution_sha256": texts_sha256(self.constitution, "revision"),
            "principles": len(self.constitution.principles),
            "prompts_sha256": self.prompter.sha256,
            "llm": dict(self.llm.identity),
        }

    def check(self, item: Draft) -> None:
        """Raise a `RowError` where an item cannot be revised."""
        check_draft(item)
        if (
            item.response is None
            and not self.llm.capabilities.system_role
            and any(turn.role == "system" for turn in item.query)
        ):
            raise RowError(f"query has a turn of the system, which {self.llm.name} does not take")

    async def judge(self, item: Draft, ask: Ask) -> RevisionChain | Failure:
        """Revise one response, round by round.

        Args:
            item: a checked item.
            ask: asks one request, usually `Runner.ask`.

        Returns:
            The chain; or why there is none, with the rounds that there are.
        """
        name = item.drawn_by
        usage, version, cut_off = Usage(), "", False
        initial = item.response
        if initial is None:
            first = await self._answer(item, name, ask)
            if isinstance(first, NoAnswer):
                return self._failure(item, first.kind, f"response: {first.detail}", first.text)
            if not first.text.strip():
                return self._failure(item, "unreadable", "response: is empty", first.text)
            initial, usage, version = first.text.strip(), first.usage, first.version
            cut_off = first.finish_reason == "length"
        steps: list[RevisionStep] = []
        response = initial
        for number in range(1, self.config.revisions + 1):
            done = await self._round(item, name, number, response, ask)
            usage, version = usage + done.usage, version or done.version
            if done.step is None:
                assert done.failed is not None
                failed = done.failed
                return self._failure(item, failed.kind, f"round {number}: {failed.detail}", failed.text, initial, steps)
            steps.append(done.step)
            if done.step.kept and done.step.revision is not None:
                response = done.step.revision
            if lost := sorted(LOST.intersection(done.step.flags)):
                if self.config.when_flagged == "fail":
                    refused = any(flag.endswith("_refused") for flag in lost)
                    detail = f"round {number}: flagged {', '.join(lost)}"
                    return self._failure(item, "refused" if refused else "unreadable", detail, "", initial, steps)
                if self.config.when_flagged == "end":
                    break
        return RevisionChain.model_validate(
            {
                **item.model_dump(exclude=_OWN),
                "response": response,
                "initial": initial,
                "sampled": item.response is None,
                "initial_cut_off": cut_off,
                "steps": tuple(steps),
                "constitution": self.constitution.title,
                "when_flagged": self.config.when_flagged,
                "seed": self.config.seed,
                "llm": self.llm.name,
                "llm_version": version,
                **_taken(usage),
            }
        )

    async def _answer(self, item: Draft, name: str, ask: Ask) -> Outcome:
        """The first response, where none is given; the same that `Sampler` draws."""
        first = Request(item.query, self._want(name, "response", self.config.max_tokens))
        if len(item.query) > 1:
            try:
                self.llm.count_tokens(first)
            except ModelError as error:
                # A chat template may refuse a dialogue; others go on.
                return NoAnswer("refused", str(error))
        return await ask(first)

    async def _round(self, item: Draft, name: str, number: int, response: str, ask: Ask) -> _Round:
        """One critique, where there is to be one, and one revision."""
        (principle,) = draw(self.constitution, "revision", self.config.seed, name, number)
        usage, flags = Usage(), list[Flag]()
        found: dict[str, Any] = {"principle": principle.id, "kept": False}

        def step(**more: Any) -> RevisionStep:
            return RevisionStep.model_validate({**found, **more, "flags": tuple(flags), **_taken(usage)})

        critique = None
        if self.config.critique:
            prompt = self.prompter.critique(item.query, response, principle)
            outcome = await ask(self._request(prompt, name, f"critique {number}", self.config.max_critique_tokens))
            usage += outcome.usage
            if isinstance(outcome, NoAnswer) and outcome.kind != "refused":
                return _Round(None, usage, replace(outcome, detail=f"critique: {outcome.detail}"))
            critique = own_words(outcome.text, self.prompter.ends)
            flags += of_critique(outcome, critique)
            found |= {"critique": critique, "critique_sha256": prompt.sha256}
            if LOST.intersection(flags):
                return _Round(step(), usage, version=_version(outcome))
        prompt = self.prompter.revision(item.query, response, principle, critique)
        outcome = await ask(self._request(prompt, name, f"revision {number}", self.config.max_tokens))
        usage += outcome.usage
        if isinstance(outcome, NoAnswer) and outcome.kind != "refused":
            return _Round(None, usage, replace(outcome, detail=f"revision: {outcome.detail}"))
        revision = at_the_margin(own_words(outcome.text, self.prompter.ends), response)
        wrong = of_revision(outcome, revision, response)
        flags += wrong
        return _Round(
            step(revision=revision, revision_sha256=prompt.sha256, kept=not wrong), usage, version=_version(outcome)
        )

    def _request(self, prompt: Prompt, name: str, what: str, max_tokens: int) -> Request:
        return request(self.llm.capabilities, prompt, self._want(name, what, max_tokens, self.prompter.ends), ())

    def _want(self, name: str, what: str, max_tokens: int, stop: Sequence[str] = ()) -> Generate:
        config = self.config
        seed = draw_seed(config.seed, name, what, 0) if config.temperature > 0 else None
        return Generate(max_tokens, config.temperature, seed, tuple(stop), config.top_p)

    @staticmethod
    def _failure(
        item: Draft,
        kind: FailureKind,
        detail: str,
        text: str,
        initial: str | None = None,
        steps: Sequence[RevisionStep] = (),
    ) -> Failure:
        partial = {"initial": initial, "steps": [step.model_dump(exclude_none=True) for step in steps]}
        return Failure(
            id=item.id,
            response_index=item.response_index,
            failure=kind,
            detail=detail,
            partial=partial if initial is not None else None,
            exchange=text or None,
        )


def _version(outcome: Outcome) -> str:
    return outcome.version if isinstance(outcome, Answer) else ""


def _taken(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "cached_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": usage.cost_usd,
    }


_OWN = set(RevisionChain.model_fields) - set(Draft.model_fields) | {"response"}
