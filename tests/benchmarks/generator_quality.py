"""Measures the reference generator: its VAE, whether a caption calls up its own work, whether pictures keep
the prompt's folder; and draws the contact sheet.

Run `python -m tests.benchmarks.generator_quality` (about 5 minutes on 2 cores).
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from creditline.corpus.works import Corpus
from creditline.evaluation.bootstrap import Estimate, bootstrap, bootstrap_mean
from creditline.generator.autoencoder import picture_tensors, reconstruction_psnr
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus
from creditline.towers.towers import Towers
from tests.benchmarks.reference_parts import generator_directory, parts_arguments
from tests.benchmarks.result_files import RESULTS_DIRECTORY, Figure, write_result

SEED = 11
PROMPTS = 200
SHUFFLES = 200
SHEET_PROMPTS = 40
COMMAND = "python -m tests.benchmarks.generator_quality"
SHEET = RESULTS_DIRECTORY / "images" / "contact-sheet.png"


def _image_features(towers: Towers, pictures: list[Image.Image], side: int) -> np.ndarray:
    """Unit image features of pictures brought to the generator's resolution first: (B, D) float32."""
    small = [picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS) for picture in pictures]
    return towers.image_features(small).numpy()


def own_work_percentiles(similarity: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Part of all works nearer to each picture than its own. similarity: (P, N); own: (P,) rows."""
    mine = similarity[np.arange(len(own)), own]
    return (similarity > mine[:, None]).mean(axis=1)


def folder_hit_ratio(nearest: np.ndarray, wanted: np.ndarray, random: np.random.Generator) -> float:
    """Share of pictures whose nearest work has the prompt's folder, over the same with prompts shuffled."""
    hits = float((nearest == wanted).mean())
    shuffled = np.mean([(nearest == random.permutation(wanted)).mean() for _ in range(SHUFFLES)])
    return hits / float(shuffled)


def _figure(estimate: Estimate, unit: str, target: str, what: str) -> Figure:
    return Figure(estimate.value, unit, estimate.low, estimate.high, target, what)


def _figures(corpus: Corpus, similarity: np.ndarray, own: np.ndarray, psnr: np.ndarray) -> dict[str, Figure]:
    percentiles = own_work_percentiles(similarity, own)
    folders = np.array([work.folder for work in corpus])
    nearest, wanted = folders[similarity.argmax(axis=1)], folders[own]
    random = np.random.default_rng(SEED)
    median = bootstrap(lambda rows: float(np.median(percentiles[rows])), len(own), seed=SEED)
    ratio = bootstrap(
        lambda rows: folder_hit_ratio(nearest[rows], wanted[rows], random), len(own), seed=SEED, resamples=400
    )
    return {
        "vae_psnr_db": _figure(
            bootstrap_mean(psnr, seed=SEED), "dB", ">= 23", "VAE's reconstruction of the works, mean"
        ),
        "own_work_percentile": _figure(
            median,
            "",
            "<= 0.03",
            "prompt = a work's caption: median percentile of that work among all, image tower (random 0.5)",
        ),
        "folder_hit_ratio": _figure(
            ratio, "", ">= 3", "nearest work has the prompt's folder, over the same with prompts shuffled"
        ),
    }


def _contact_sheet(
    corpus: Corpus, captions: list[str], pictures: list[Image.Image], similarity: np.ndarray
) -> Image.Image:
    """Forty prompts, each with its picture (framed) and its three nearest works."""
    columns, cell, text = 4, 96, 18
    width, height = 4 * cell + 28, cell + text + 14
    rows = -(-len(captions) // columns)
    sheet = Image.new("RGB", (columns * width + 12, rows * height + 12), (250, 248, 244))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=12)
    for index, (caption, picture) in enumerate(zip(captions, pictures, strict=True)):
        left, top = 12 + index % columns * width, 12 + index // columns * height
        draw.text((left, top), caption[:58], fill=(40, 40, 40), font=font)
        draw.rectangle(
            (left, top + text - 1, left + cell + 1, top + text + cell), outline=(180, 60, 40), width=2
        )
        sheet.paste(
            picture.resize((cell - 2, cell - 2), Image.Resampling.BICUBIC), (left + 2, top + text + 1)
        )
        for place, row in enumerate(np.argsort(-similarity[index])[:3]):
            work = corpus.works[int(row)].picture().resize((cell - 4, cell - 4))
            sheet.paste(work, (left + 8 + (place + 1) * cell, top + text + 2))
    return sheet


def main() -> None:
    """Measure, draw, and write `generator.json`."""
    arguments = parts_arguments(__doc__).parse_args()
    corpus = reference_corpus()
    random = np.random.default_rng(SEED)
    own = random.choice(len(corpus), PROMPTS, replace=False)
    captions = [corpus.works[row].caption for row in own]
    with Generator.open(generator_directory(arguments.generator)) as generator:
        psnr = reconstruction_psnr(generator.pipeline.vae, picture_tensors(corpus)).numpy()
        print(f"VAE {psnr.mean():.2f} dB", flush=True)
        pictures = generator.sample(captions, [SEED * 1000 + index for index in range(PROMPTS)])
        side = generator.resolution
    towers = Towers.open()
    works = _image_features(towers, [work.picture() for work in corpus], side)
    similarity = _image_features(towers, pictures, side) @ works.T
    figures = _figures(corpus, similarity, own, psnr)
    percentiles = own_work_percentiles(similarity, own)
    rows = [
        {
            "work": corpus.ids[row],
            "percentile": float(value),
            "nearest": corpus.ids[int(similarity[index].argmax())],
        }
        for index, (row, value) in enumerate(zip(own, percentiles, strict=True))
    ]
    write_result("generator", COMMAND, SEED, figures, rows)
    SHEET.parent.mkdir(parents=True, exist_ok=True)
    part = slice(0, SHEET_PROMPTS)
    _contact_sheet(corpus, captions[part], pictures[part], similarity[part]).save(SHEET, optimize=True)
    for key, figure in figures.items():
        print(f"{key}: {figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}] {figure.target}")


if __name__ == "__main__":
    main()
