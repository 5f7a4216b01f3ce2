"""`gapfill report`: the page again, and tables as Markdown, LaTeX and CSV."""

import csv
import io
import re
import shutil
import subprocess

import pytest
from test_report import fill_folder, made, results_of, usual_results

from gapfill import report
from gapfill.commands import main
from gapfill.report import papers

HOSTILE = r"50%_of \dcgan{} & $x^2$ #1 ~ <b> | «é» “日本” [x] naïve"


def hostile():
    """Models whose names mean something to every format; the first is best beyond doubt."""
    return results_of(made(HOSTILE, 21.0), made("=1+1", 20.0), made("telea†", 18.0, learned=False))


@pytest.fixture
def folder(tmp_path):
    """What a comparison under two kinds of masks left behind."""
    kinds = ("center", "brush")
    models = [made(name, psnr, kinds=kinds) for name, psnr in (("cnn", 21.07), ("dcgan", 20.52))]
    results = results_of(made("telea", 15.85, learned=False, kinds=kinds), *models, kinds=kinds)
    return fill_folder(tmp_path, results)


def said(capsys, *words):
    """What the command prints."""
    assert main.main(["report", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_markdown_has_the_best_bold_by_the_paired_rule(folder, capsys):
    text = said(capsys, folder, "--format", "markdown", "--columns", "hole_psnr", "lpips")
    assert text.split("\n\n")[:2] == [
        r"**center masks**",
        "| model | hole PSNR, dB ↑ | LPIPS ↓ |\n"
        "| --- | ---: | ---: |\n"
        "| telea | 15.85 ± 0.10 | – |\n"
        "| cnn | **21.07** ± 0.10 | – |\n"
        "| dcgan | 20.52 ± 0.10 | – |",
    ]
    assert "± is the standard error of the mean, n = 400. Bold is the best: its paired" in text


def test_latex_has_booktabs_rules_and_a_line_between_learned_and_not(folder, capsys):
    text = said(capsys, folder, "--format", "latex", "--masks", "brush", "--columns", "hole_psnr")
    assert text == (
        "% needs \\usepackage{booktabs}\n"
        "% +- is the standard error of the mean, n = 400.\n"
        "% Bold is the best: its paired 95 % interval against each other model excludes zero.\n"
        "% brush masks\n"
        "\\begin{tabular}{lr}\n\\toprule\n"
        "model & hole PSNR, dB $\\uparrow$ \\\\\n\\midrule\n"
        "telea & 15.85 $\\pm$ 0.10 \\\\\n\\midrule\n"
        "cnn & \\textbf{21.07} $\\pm$ 0.10 \\\\\n"
        "dcgan & 20.52 $\\pm$ 0.10 \\\\\n\\bottomrule\n\\end{tabular}\n"
    )


def test_csv_is_numbers_unrounded(folder, capsys):
    words = ("--format", "csv", "--columns", "hole_psnr", "lpips", "parameters", "latency_ms")
    lines = list(csv.DictReader(io.StringIO(said(capsys, folder, *words))))
    assert [(line["model"], line["masks"]) for line in lines][2:4] == [
        ("dcgan", "center"), ("telea", "brush")
    ]  # fmt: skip
    assert lines[1] == {
        "model": "cnn", "masks": "center", "pictures": "400", "hole_psnr": "21.07",
        "hole_psnr_se": "0.1", "hole_psnr_best": "1", "lpips": "", "lpips_se": "",
        "lpips_best": "0", "parameters": "7900000", "latency_ms": "6.1",
    }  # fmt: skip


def test_the_spread_is_the_one_asked_for(folder, capsys):
    words = (folder, "--columns", "hole_psnr", "--spread")
    assert "21.07** ± 2.00 |" in said(capsys, *words, "sd", "--format", "markdown")  # 0.1 · √400
    text = said(capsys, *words, "ci", "--format", "latex")
    assert "cnn & \\textbf{21.07} {[}20.87, 21.27{]} \\\\" in text
    assert "brackets are the 95 % interval" in text.lower()
    line = next(csv.DictReader(io.StringIO(said(capsys, *words, "ci", "--format", "csv"))))
    assert float(line["hole_psnr_low"]) == pytest.approx(15.85 - 0.196)
    assert float(line["hole_psnr_high"]) == pytest.approx(15.85 + 0.196)


def test_a_column_of_any_key_has_its_place():
    results = results_of(made("a", 20.0), made("b", 21.0))
    results["columns"].append(
        {"key": "kd", "title": "KD", "unit": "", "better": "lower", "digits": 4, "of": "sets"}
    )
    for model in results["models"]:
        model["scores"]["center"]["kd"] = {"mean": 0.0123, "se": 0.001, "n": 400, "sd": 0.01}
    del results["paired"]["lead"]["center"]["hole_psnr"]
    text = papers.markdown(papers.gather(results, ["kd", "hole_psnr"]))
    assert "| a | 0.0123 ± 0.0010 | 20.00 ± 0.10 |" in text
    assert "KD: over subsets of the pictures." in text
    assert "Bold" not in text
    assert "| 0.0123 ± 0.0100 |" in papers.markdown(papers.gather(results, ["kd"], spread="sd"))
    assert "| 0.0123 |" in papers.markdown(papers.gather(results, ["kd"], spread="ci"))
    assert [column.key for column in papers.gather(results).columns][-1] == "kd"


def test_hostile_names_stay_names_in_markdown_and_csv():
    tables = papers.gather(hostile(), ["hole_psnr"])
    line = papers.markdown(tables).splitlines()[2]
    assert len(re.findall(r"(?<!\\)\|", line)) == 3
    assert "\\<b\\>" in line
    rows = list(csv.reader(io.StringIO(papers.comma_separated(tables))))
    assert rows[1][0] == HOSTILE


def test_latex_is_ascii_with_every_special_letter_escaped():
    text = papers.latex(papers.gather(hostile(), ["hole_psnr"]))
    assert text.isascii()
    assert "\n50\\%\\_of \\textbackslash{}dcgan\\{\\} \\& \\$x\\textasciicircum{}2\\$ " in text
    assert r"\#1 \textasciitilde{} \textless{}b\textgreater{} \textbar{}" in text
    assert r"U+00AB\'{e}U+00BB U+201CU+65E5U+672CU+201D {[}x{]} na\"{i}ve" in text
    assert r"telea$\dagger$ &" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_latex_compiles(tmp_path):
    results = hostile()
    for spread in papers.SPREADS:
        table = papers.latex(papers.gather(results, spread=spread))
        whole = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{table}"
        (tmp_path / "table.tex").write_text(whole + "\\end{document}\n")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_the_page_is_made_again_byte_for_byte_without_training(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    folder = fill_folder(tmp_path / "run", usual_results())
    report.write(folder)
    names = ("report.html", "grid.png", "losses.png")
    before = [(folder / name).read_bytes() for name in names]
    for name in names:
        (folder / name).unlink()
    said(capsys, folder)
    assert [(folder / name).read_bytes() for name in names] == before
    said(capsys, folder, "--out", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == before[0]


def test_a_table_goes_where_it_is_told(folder, tmp_path, capsys):
    printed = said(capsys, folder, "--format", "csv")
    assert said(capsys, folder, "--format", "csv", "--out", tmp_path / "t" / "scores.csv") == ""
    assert (tmp_path / "t" / "scores.csv").read_text() == printed


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("--format", "csv", "--columns", "hole_psrn"),
            "these results have no column 'hole_psrn'. Did you mean 'hole_psnr'? Known: hole_psnr",
        ),
        (
            ("--format", "latex", "--masks", "half"),
            "these results have no kind of masks 'half'. Known: center, brush",
        ),
        (("--spread", "sd"), "--spread is for --format markdown, latex and csv; the page has"),
    ],
)
def test_mistakes_are_told_in_a_line(folder, capsys, words, line):
    assert main.main(["report", str(folder), *words]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert len(error.splitlines()) == 1


def test_a_folder_without_a_comparison_says_so(tmp_path, capsys):
    assert main.main(["report", str(tmp_path), "--format", "csv"]) == 1
    error = capsys.readouterr().err
    assert "results.json cannot be read (No such file or directory). Run a comparison" in error
    assert len(error.splitlines()) == 1


def test_a_table_is_written_through_a_link_and_the_link_stays(folder, tmp_path, capsys):
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    target.write_text("before", encoding="utf-8")
    link.symlink_to(target)
    said(capsys, folder, "--format", "csv", "--out", link)
    assert link.is_symlink()
    assert "before" not in target.read_text(encoding="utf-8")
