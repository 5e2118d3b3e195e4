"""Forms on training content, filled with counts from the data alone."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from creditline.cli.corpus import app
from creditline.corpus.report.counts import LOCAL, Amount, corpus_counts
from creditline.corpus.report.output import report_json, report_markdown
from creditline.corpus.report.templates import TEMPLATES, filled
from creditline.corpus.sources.corpora import open_corpus
from creditline.corpus.works import write_corpus
from tests.corpus.embedded.written_pictures import exif, picture, sequence, xmp

_PROHIBITED = "http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED"
_MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven works from ten hosts and without one, with every kind of thing that is counted."""
    full = xmp(
        sequence("dc:creator", "Ann"), plus_DataMining=_PROHIBITED, xmpRights_WebStatement="https://x.org/l"
    )
    rows = [
        {"url": "https://big.example/1", "image": picture("PNG", packet=full, side=200)},
        {"url": "https://big.example/2", "image": picture("JPEG", exif_data=exif(Artist="Ben"))},
        {"url": "", "image": picture("WEBP", packet=xmp("", Iptc4xmpExt_DigitalSourceType=_MADE))},
        *({"url": f"https://s{n}.example/", "image": picture("GIF"), "author": "Cid"} for n in range(8)),
        {"url": "https://s9.example/", "image": picture("GIF"), "author": "a|b\n# <i>c</i>", "caption": ""},
    ]
    shared = {"license": "CC0", "created": "2020-02-03", "noai": None, "author": None, "caption": "a barn"}
    rows = [shared | row for row in rows]
    rows[0] |= {"license": "", "created": "2024-05-06"}
    rows[1] |= {"noai": "yes", "created": ""}
    path = tmp_path_factory.mktemp("report") / "works.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_works_are_counted_by_source_licence_contributor_type_period_and_consent(source: Path) -> None:
    counts = corpus_counts(source)
    assert (counts.works, counts.broken, counts.with_picture) == (11, 1, 11)
    assert next(iter(counts.origins)) == "big.example"
    assert counts.origins["big.example"].works == 2
    assert counts.origins[LOCAL].works == 1
    assert counts.origins["s3.example"] == Amount(1, len(picture("GIF")))
    assert sum(one.size for one in counts.origins.values()) == counts.size
    assert counts.licences == {"CC0": 10, "https://x.org/l": 1}
    assert counts.largest_contributors == {"Cid": 8, "Ann": 1, "Ben": 1}
    assert (counts.contributors, counts.without_contributor) == (3, 1)
    assert counts.types == {"image/gif": 8, "image/jpeg": 1, "image/png": 1, "image/webp": 1}
    assert (counts.years, counts.undated) == ({"2020": 9, "2024": 1}, 1)
    assert (counts.first_date, counts.last_date) == ("2020-02-03", "2024-05-06")
    assert counts.consent["generative_training"] == {"prohibited": 2, "unspecified": 9}
    assert counts.consent["mining"] == {"prohibited": 1, "unspecified": 10}
    assert counts.model_made == 1


def test_a_packed_corpus_gives_the_counts_of_its_source(source: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.parquet"
    write_corpus(open_corpus(source), packed)
    here, there = corpus_counts(packed), corpus_counts(source)
    for field in ("works", "licences", "largest_contributors", "years", "consent", "contributors"):
        assert getattr(here, field) == getattr(there, field), field


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_only_the_operator_knows_is_named_and_empty(source: Path, template: str) -> None:
    form = filled(template, corpus_counts(source))
    written = report_json(form)
    fields = [one for section in written["sections"] for one in section["fields"]]
    empty = [one["field"] for one in fields if one["value"] is None]
    assert empty == written["left_to_operator"]
    assert {one["filled_by"] for one in fields if one["field"] in empty} == {"operator"}
    assert 5 <= len(empty) < len(fields)
    markdown = report_markdown(form)
    assert all(f"- **{field}**:\n" in markdown for field in empty)
    assert markdown.count("prohibited: 2") >= 1


def test_the_eu_form_lists_a_tenth_of_the_domains_by_size(source: Path) -> None:
    form = report_json(filled("eu", corpus_counts(source)))
    fields = {one["field"]: one["value"] for section in form["sections"] for one in section["fields"]}
    (listed,) = fields["Domains, the top 10 % by size of the content"]
    assert listed.startswith("big.example: 2 works")
    assert fields["Training data size, images"].startswith("less than 1 million images (exactly 11")


def test_texts_of_the_data_are_no_markup_in_the_report(tmp_path: Path) -> None:
    rows = {"caption": ["a barn"], "license": ["a|b\n# <i>c</i>"], "url": ["x"]}
    pq.write_table(pa.table(rows), tmp_path / "works.parquet")
    markdown = report_markdown(filled("ab2013", corpus_counts(tmp_path / "works.parquet")))
    assert r"a\|b \# \<i\>c\</i\>: 1" in markdown


def test_the_command_writes_both_forms_and_names_an_unknown_template(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    arguments = ["report", str(source), "--template", "ab2013", "--json", "--output", str(target)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert json.loads(target.read_text())["counts"]["works"] == 11
    shown = CliRunner().invoke(app, ["report", str(source), "--template", "eu"])
    assert "# Public summary of training content" in shown.stdout
    refused = CliRunner().invoke(app, ["report", str(source), "--template", "uk"])
    assert "choose one of eu, ab2013" in str(refused.exception)
