"""A report's three forms say the same, and nothing that is no number."""

import json
import re
from pathlib import Path

import pytest

from rlaif.errors import StorageError
from rlaif.evaluation import plots
from rlaif.evaluation.html import as_html
from rlaif.evaluation.report import Report, Section
from rlaif.evaluation.writing import as_json, as_markdown, cell_text, write_report
from rlaif.statistics.calibration import Bin
from rlaif.statistics.intervals import Estimate

SHARE = Estimate(0.7107, 0.6667, 0.7534, 999, 170, "bca")


def report(*rows: tuple[object, ...]) -> Report:
    section = Section("alignment", "A | title", "A note.", ("labeler", "agreement", "p"), rows)  # type: ignore[arg-type]
    return Report("Title <b>", {"Labels": "a|b.jsonl"}, [section])


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (SHARE, "0.711 (0.667-0.753), n = 999"),
        (Estimate(-0.04, -0.08, -0.01, 12, 12, "bca"), "-0.040 (-0.080 to -0.010), n = 12"),
        (Estimate(1.0, n=1), "1.000, n = 1"),
        (Estimate(None, n=3), "–, n = 3"),
        (Estimate(float("nan"), 0.1, float("inf"), 3), "–, n = 3"),
        (float("nan"), "–"),
        (float("-inf"), "–"),
        (None, "–"),
        (0.00001, "< 0.001"),
        (0.0, "0.000"),
        (1125.8271, "1,125.8"),
        (Estimate(1125.8, 1084.43, 1169.87, 421), "1,125.8 (1,084.4-1,169.9), n = 421"),
        (12345, "12,345"),
        (True, "yes"),
        ("text", "text"),
    ],
)
def test_cells_as_people_read_them(cell: object, text: str) -> None:
    assert cell_text(cell) == text  # type: ignore[arg-type]


def test_json_holds_every_number_with_its_interval_and_n(tmp_path: Path) -> None:
    found = as_json(report(("x", SHARE, float("nan")), ("y", Estimate(0.5, 0.4, float("inf"), 9), None)))
    row, other = found["sections"]["alignment"]["rows"]
    assert row["agreement"] == {
        **{"value": 0.7107, "low": 0.6667, "high": 0.7534},
        **{"n": 999, "clusters": 170, "interval": "bca"},
    }
    assert row["p"] is None
    assert other["agreement"] == {"value": 0.5, "low": 0.4, "high": None, "n": 9, "clusters": 0, "interval": "none"}
    json.dumps(found, allow_nan=False)


def test_columns_of_which_nothing_is_known_are_not_shown_but_the_first_figure_is() -> None:
    rows = [("x", Estimate(None), None), ("y", Estimate(None), Estimate(None))]
    text = as_markdown(report(*rows))
    assert "| labeler | agreement |\n" in text
    assert "| x | –, n = 0 |\n" in text
    assert list(as_json(report(*rows))["sections"]["alignment"]["rows"][0]) == ["labeler", "agreement", "p"]


def test_the_first_figure_is_shown_wherever_it_stands() -> None:
    rows = (("x", "m", Estimate(None), None, "3 refused"), ("y", "m", Estimate(None), None, "1 refused"))
    section = Section("rates", "Rates", "", ("policy", "judged by", "rate", "mean", "not judged"), rows)
    assert section.shown[0] == ["policy", "judged by", "rate", "not judged"]
    assert section.shown[1][0] == ["x", "m", Estimate(None), "3 refused"]


def test_markdown_is_a_table_that_no_text_breaks() -> None:
    text = as_markdown(report(("a|b\nc <i>", SHARE, 0.25)))
    assert "# Title &lt;b>" in text
    assert "| a\\|b c &lt;i> | 0.711 (0.667-0.753), n = 999 | 0.250 |" in text


def test_the_three_files_are_written_whole_and_the_same_every_time(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_report(report(("x", SHARE, 0.5)), tmp_path / folder)
    for name in ("report.json", "report.md", "report.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert not [path for path in (tmp_path / "one").iterdir() if path.name.startswith(".")]


def test_what_is_no_number_is_a_dash_on_the_page() -> None:
    nan = float("nan")
    page = as_html(report(("x", Estimate(nan, nan, nan, 7), nan), ("y", SHARE, 0.00001)))
    assert page.count('title="not known">–') == 2
    assert "n&nbsp;=&nbsp;7" in page
    assert ">nan" not in page
    assert "&lt; 0.001" in page


def test_half_a_character_is_replaced_in_every_file_and_whole_ones_stay(tmp_path: Path) -> None:
    found = report(("cut \ud83d, whole \U0001f600", SHARE, 0.5))
    write_report(found, tmp_path)
    assert as_html(found) == (tmp_path / "report.html").read_text(encoding="utf-8")
    for name in ("report.json", "report.md", "report.html"):
        assert "cut \ufffd, whole \U0001f600" in (tmp_path / name).read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_report(report(("x", SHARE, 0.5)), tmp_path / "file")


BINS = [Bin(0.2, 0.3, 10, 0.1, 0.5), Bin(0.8, 0.7, 10, 0.5, 0.9)]


@pytest.mark.parametrize(
    "plot",
    [
        lambda: plots.reliability({"a": BINS, "b $x$": BINS}, "R"),
        lambda: plots.lengths({"people": BINS}, "L", "ratio"),
        lambda: plots.forest([("one & <two>", SHARE), ("none", Estimate(None))], "F", "share", 0.5),
        lambda: plots.positions({"a": (0.5, 0.3, 0.2)}, "P"),
        lambda: plots.forest_of([("x", "policy", Estimate(900.0, 880, 920, 9), 3)], "E", "Elo")[0],
    ],
    ids=["reliability", "lengths", "forest", "positions", "forest of rows"],
)
def test_pictures_take_their_colours_from_the_page_and_are_the_same_every_time(plot: object) -> None:
    first, again = plot(), plot()  # type: ignore[operator]
    assert first == again
    assert "var(--ink)" in first.svg
    assert "var(--series-1)" in first.svg
    assert not [color for color in ("#0101", "#0501", "#000000") if color in first.svg]
    assert first.alt
    assert 'role="img" aria-label="' in first.svg


def test_no_two_of_many_curves_look_the_same() -> None:
    svg = plots.reliability({f"labeler {number}": BINS for number in range(20)}, "R").svg
    # A key of each curve: two points of a line, in its colour and with its dashes.
    styles = re.findall(r'<path d="M [\d.]+ [\d.]+ \nL [\d.]+ [\d.]+ \n" [^>]*style="([^"]*series-\d[^"]*)"', svg)
    assert len(set(styles)) == 20


def test_a_tables_first_figures_are_drawn_and_unknown_ones_are_left_out() -> None:
    rows = [("unknown", Estimate(None), SHARE), ("x", "by people", SHARE, Estimate(0.1)), ("y", 3, None)]
    (plot,) = plots.forest_of(rows, "F", "share")
    assert "x, by people: 0.711" in plot.alt
    assert "unknown" not in plot.alt
    assert plots.forest_of(rows[:1], "F", "share") == ()


LABELS = ["half \ud800 \x00 \u2028", "关系" * 40, "🐕", "$5 to $6", "_private", "</text><script>", "a/b" * 5_000, ""]


@pytest.mark.parametrize("label", LABELS, ids=range(len(LABELS)))
def test_any_label_can_be_drawn_and_none_is_taken_for_markup(label: str) -> None:
    curves = {label: BINS, "_other": BINS}
    drawn = [
        plots.forest([(label, SHARE)], "F", "share", None),
        plots.positions({label: (0.5, 0.3, 0.2)}, "P"),
        plots.reliability(curves, "R"),
        plots.lengths(curves, "L", "ratio"),
    ]
    for plot in drawn:
        assert "<script" not in plot.svg
    assert "_other</text>" in drawn[2].svg
    if label.startswith(("_", "$")):
        assert all(f"{label}</text>" in plot.svg for plot in drawn)


def test_pictures_of_nothing_are_pictures() -> None:
    for plot in (plots.forest([], "F", "x", 0.5), plots.positions({}, "P"), plots.reliability({}, "R")):
        assert plot.svg.startswith("<svg")


def lines_of(label: str) -> list[str]:
    svg = plots.forest([(label, SHARE)], "F", "share", None).svg
    return [line for line in re.findall(r">([^<>]*)</text>", svg) if line and line.strip("…") in label]


def test_long_labels_are_broken_where_names_have_parts_and_shortened() -> None:
    assert lines_of("provider:model · summarization/preference/0") == [
        "provider:model · summarization/",
        "preference/0",
    ]
    assert lines_of("x" * 200) == ["x" * 34, "x" * 33 + "…"]
    # Wide letters count twice.
    assert lines_of("界" * 20) == ["界" * 17, "界" * 3]


def test_a_users_own_settings_do_not_change_pictures() -> None:
    import matplotlib as mpl

    before = plots.forest([("a", SHARE)], "F", "share", None)
    with mpl.rc_context({"lines.linewidth": 9, "axes.labelsize": 30, "axes.grid": True}):
        assert plots.forest([("a", SHARE)], "F", "share", None) == before
        assert mpl.rcParams["lines.linewidth"] == 9


def test_ids_of_two_pictures_on_one_page_do_not_clash() -> None:
    one, other = (plots.forest([(name, SHARE)], "F", "share", None).svg for name in ("a", "b"))
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (one, other)]
    assert all(ids)
    assert not ids[0] & ids[1]
    for svg, own in zip((one, other), ids, strict=True):
        assert set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", svg)) <= own
