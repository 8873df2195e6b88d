"""Constitutions are found by name and by path; what is wrong in a file is named with its line and its remedy."""

from pathlib import Path

import pytest

from rlaif.constitution.files import constitution_file, load_constitution, packaged, read_constitution
from rlaif.constitution.principles import Constitution
from rlaif.errors import ConfigError, InputError, RlaifError

WHOLE = """\
title: Quiet
description: Responses that do not shout.
principles:
  - id: shouting
    critique_request: Where does the response use capital letters for emphasis?
    revision_request: Write these words in small letters.
  - id: exclaiming
    critique_request: Count the exclamation marks.
    revision_request: Replace each exclamation mark by a full stop.
comparison_principles:
  - id: library
    question: Which response could be read out in a library?
revision_exemplars:
  - principle: shouting
    query: Hello?
    response: HELLO.
    critique: The greeting is in capitals.
    revision: Hello.
comparison_exemplars:
  - principle: library
    query:
      - {role: user, content: Hello}
      - {role: assistant, content: Hm}
      - {role: user, content: Are you there}
    response_1: YES!
    response_2: Yes.
    rationale: Response 1 shouts.
    preferred: 2
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(WHOLE, encoding="utf-8")
    return path


def test_the_packaged_ones_are_found_by_name() -> None:
    assert set(packaged()) == {"harmless", "helpful-honest"}
    harmless, other = load_constitution("harmless"), load_constitution("helpful-honest")
    assert (len(harmless.principles), len(harmless.comparison_principles)) == (16, 16)
    assert len(other.principles) >= 8
    assert len(other.comparison_principles) >= 8
    for one in (harmless, other):
        assert len(one.revision_exemplars) >= 3
        assert len(one.comparison_exemplars) >= 3
        assert {each.preferred for each in one.comparison_exemplars} == {1, 2}


def test_a_users_own_file_or_folder_is_read(mine: Path, tmp_path: Path) -> None:
    loaded = load_constitution(str(mine))
    assert [one.id for one in loaded.principles] == ["shouting", "exclaiming"]
    assert loaded.revision_exemplars[0].query[0].role == "user"
    assert [turn.role for turn in loaded.comparison_exemplars[0].query] == ["user", "assistant", "user"]
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ConfigError, match=r"folder/constitution\.yaml: is missing; a constitution's folder holds it"):
        load_constitution(str(folder))
    (folder / "constitution.yaml").write_text(WHOLE, encoding="utf-8-sig")
    assert load_constitution(str(folder)) == loaded
    assert constitution_file(str(folder)) == folder / "constitution.yaml"


def test_a_part_that_is_not_needed_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text("title: T\ndescription: D\ncomparison_principles:\n- {id: a, question: Which one shouts}\n")
    assert load_constitution(str(path)).principles == ()


def test_the_example_in_the_readme_is_a_constitution(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "constitutions" / "README.md").read_text(encoding="utf-8")
    path = tmp_path / "example.yaml"
    path.write_text(readme.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    assert load_constitution(str(path)).title == "Plain words"
    for name, file in packaged().items():
        loaded = load_constitution(name)
        counts = [len(loaded.principles), len(loaded.comparison_principles)]
        exemplars = f"{len(loaded.revision_exemplars)}, {len(loaded.comparison_exemplars)}"
        (row,) = [line for line in readme.splitlines() if f"({file.name})" in line]
        assert row.split("|")[3:6] == [*(f" {count} " for count in counts), f" {exemplars} "]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: Quiet\n", "", r"mine\.yaml:1: title: is missing"),
        (
            "    revision_request: Write",
            "    revison_request: Write",
            r":4: .*\(shouting\): revision_request: is missing",
        ),
        ("title:", "tittle:", r":1: tittle: is not a field here; did you mean title\?"),
        ("    question:", "    weight: 2\n    question:", r":12: .*1 \(library\): weight: is not a field here; known"),
        (
            "id: exclaiming",
            "id: shouting",
            r":7: principles 2 \(shouting\): id: is shouting, as that of number 1; give",
        ),
        ("id: exclaiming", "id: 5", r":7: principles 2: id: is the number 5; write a text \(in quotes"),
        ("id: exclaiming", "id: no good", r":7: .*id: is 'no good'; an id has letters, digits, -, _ and . only"),
        ("Count the exclamation marks.", '" \\u200b"', r":8: .*\(exclaiming\): critique_request: is empty; write it"),
        ("Count the exclamation marks.", "", r":8: .*critique_request: is empty; write a text"),
        ("Count the exclamation marks.", "[a, b]", r":8: .*critique_request: is a list; write a text"),
        ("- principle: library", "- principle: libary", r":20: .*is libary, which is none of the comp.*mean library\?"),
        (
            "- principle: library",
            "- principle: shouting",
            r":20: comparison_exemplars 1 \(shouting\): principle: is sh",
        ),
        ("- principle: shouting", "- principle: library", r":14: revision_exemplars 1 .*none of the principles; known"),
        ("preferred: 2", "preferred: 3", r":28: .*preferred: is 3; write 1 or 2"),
        ("preferred: 2", "preferred: true", r":28: .*preferred: is True; write 1 or 2"),
        ("role: assistant", "role: robot", r":23: .*query 2: role: is 'robot'; write 'system', 'user' or 'assistant'"),
        ("query: Hello?", "query: []", r":15: .*query: is empty; it needs a turn at least"),
        ("query: Hello?", "query: [Hello]", r":15: .*query 1: is a text; it needs role, content"),
        (
            "response: HELLO.",
            "response: HELLO.\n    response: Hi.",
            r":17: .*response: stands here a second time; YAML",
        ),
        (
            "revision_exemplars:\n",
            "revision_exemplars: 3\nrest:\n",
            r":13: revision_exemplars: is the number 3; write a list",
        ),
        (
            "principles:\n  - id: s",
            "principles:\n  - quiet\n  - id: s",
            r":4: principles 1: is a text; it needs id, cri",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(mine: Path, old: str, new: str, message: str) -> None:
    assert old in WHOLE
    mine.write_text(WHOLE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_constitution(str(mine))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"mine\.yaml: is empty; a constitution has title, description, principles"),
        (b"- a\n- b\n", "is a list, no mapping"),
        (b"quiet", "is a text, no mapping"),
        (b"title: a\nprinciples: [\n", r"mine\.yaml:3: is not YAML \(.*\); .*README\.md has an example"),
        (b"title: a\n---\ntitle: b\n", "another document"),
        (b"title: 2024-99-99\n", "is not YAML"),
        (b"title: \x07\n", "is not YAML"),
        (b"title: !!python/object:os.system a\n", "is not YAML"),
        (b"[" * 500, "is not YAML"),
        (b"title: a\ndescription: caf\xe9\n", r"mine\.yaml:2: not UTF-8 \(byte 0xe9\); convert the file"),
    ],
)
def test_a_file_that_is_no_constitution_at_all_is_refused(mine: Path, content: bytes, message: str) -> None:
    mine.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_constitution(str(mine))


def test_every_fault_is_found_whatever_else_is_wrong(mine: Path) -> None:
    wrong = WHOLE.replace("title: Quiet\n", "", 1).replace("id: exclaiming", "id: shouting", 1)
    mine.write_text(wrong.replace("- principle: library", "- principle: libary", 1), encoding="utf-8")
    faults = read_constitution(mine)
    assert isinstance(faults, list)
    assert [fault.partition(": ")[0].rpartition(":")[2] for fault in faults] == ["1", "6", "19"]
    assert "title: is missing" in faults[0]
    assert "id: is shouting, as that of number 1" in faults[1]
    assert "is libary, which is none of the comparison_principles" in faults[2]


def test_there_must_be_principles_of_a_kind(mine: Path) -> None:
    mine.write_text("title: T\ndescription: D\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml:1: the constitution: holds no principles; it needs principles"):
        load_constitution(str(mine))


def test_all_faults_are_listed_in_the_order_of_their_lines(mine: Path) -> None:
    mine.write_text(
        WHOLE.replace("title:", "tittle:").replace("preferred: 2", "preferred: 0").replace("id: ex", "di: ex")
    )
    faults = read_constitution(mine)
    assert not isinstance(faults, Constitution)
    lines = [int(fault.removeprefix(f"{mine}:").split(":")[0]) for fault in faults]
    assert lines == sorted(lines)
    assert len(lines) == 5
    with pytest.raises(ConfigError, match=r"\(and 4 more; rlaif constitution check lists all\)"):
        load_constitution(str(mine))


def test_a_mapping_that_holds_itself_ends(mine: Path) -> None:
    mine.write_text("&all\ntitle: *all\nprinciples: &list [*list]\n")
    with pytest.raises(RlaifError):
        load_constitution(str(mine))


def test_names_and_paths_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"harmles is neither a constitution nor a file; did you mean harmless\?"):
        load_constitution("harmles")
    with pytest.raises(ConfigError, match="known are harmless, helpful-honest"):
        load_constitution("zzz.yaml")
    (tmp_path / "constitution.yaml").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        load_constitution(str(tmp_path))
