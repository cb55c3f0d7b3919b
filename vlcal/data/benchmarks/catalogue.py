"""Every benchmark, and the suites they make. Ids, splits and columns are those of the published copies."""

from __future__ import annotations

from dataclasses import replace

from vlcal.data.benchmarks.mathvista import MathVistaRule, with_precision
from vlcal.data.benchmarks.rules import FlagRule, LoneLetter, OpenAnswers
from vlcal.data.benchmarks.spec import (
    BenchmarkSpec,
    in_one_image,
    shown_if_empty,
    shown_in_image,
    with_hint,
    with_option_text,
)
from vlcal.data.records import Columns
from vlcal.data.rules import ByColumn, ByIndex, ByLetter, FirstThatReads, Verified, WithOptions
from vlcal.verifiers import (
    CountVerifier,
    DecimalVerifier,
    LetterSetVerifier,
    MathVerifier,
    PhraseVerifier,
    RelaxedVerifier,
    YesNoVerifier,
)

MATH = Verified(MathVerifier())
WORDS = Verified(PhraseVerifier())
LETTER = ByLetter()
LETTERS = Verified(LetterSetVerifier())
COUNT = Verified(CountVerifier())
NUMBER = FirstThatReads([Verified(DecimalVerifier()), MATH])
LETTER_OR_MATH = FirstThatReads([LoneLetter(), MATH])
# What R1-style training sets call their columns.
PROBLEM = Columns("problem", "answer")

SUBJECTS = (
    "Accounting Agriculture Architecture_and_Engineering Art Art_Theory Basic_Medical_Science Biology Chemistry "
    "Clinical_Medicine Computer_Science Design Diagnostics_and_Laboratory_Medicine Economics Electronics "
    "Energy_and_Power Finance Geography History Literature Manage Marketing Materials Math Mechanical_Engineering "
    "Music Pharmacy Physics Psychology Public_Health Sociology"
)
FIGURE = ("category", "subcategory", "set_id", "figure_id")
SEVEN_IMAGES = tuple(f"image_{number}" for number in range(1, 8))

MATHVERSE = BenchmarkSpec(
    "AI4Math/MathVerse",
    "testmini",
    (Columns(images=("image",), question_id=("problem_index",)),),
    # Some that are called multi-choice have two letters, true or false, or a bearing as their answer.
    ByColumn("question_type", {"multi-choice": FirstThatReads([LETTER, LETTERS, MATH]), "free-form": MATH}),
    names=("testmini",),
    ask=shown_if_empty,
)
MMMU_PRO = BenchmarkSpec(
    "MMMU/MMMU_Pro",
    "test",
    (Columns(images=SEVEN_IMAGES, options="options", question_id=("id",)),),
    LETTER,
    names=("standard (10 options)",),
)

BENCHMARKS: dict[str, BenchmarkSpec] = {
    "dynamath": BenchmarkSpec(
        "DynaMath/DynaMath_Sample",
        "+".join(f"sample_variant{number}" for number in range(1, 11)),
        (
            Columns("question", "ground_truth", ("decoded_image",), question_id=("id",)),
            Columns("question", "answer", ("image",), question_id=("id",)),
        ),
        ByColumn(
            "answer_type",
            {
                "float": NUMBER,
                "int": NUMBER,
                "single answer": NUMBER,
                "multiple choice": FirstThatReads([LETTER, WORDS]),
                "text": WORDS,
            },
        ),
    ),
    "geometry3k": BenchmarkSpec("hiyouga/geometry3k", "test", (PROBLEM,), MATH),
    "mathverse": MATHVERSE,
    "mathverse-vision-only": replace(MATHVERSE, where={"problem_version": "Vision Only"}),
    "mathverse-text-only": replace(
        MATHVERSE,
        split="testmini_text_only",
        layouts=(Columns(images=(), question_id=("problem_index",)),),
        names=("testmini_text_only",),
        least_images=0,
    ),
    "mathvision": BenchmarkSpec(
        "MathLLMs/MathVision",
        "test",
        (
            Columns(images=("decoded_image",), options="options", question_id=("id",)),
            Columns(images=("image",), options="options", question_id=("id",)),
        ),
        WithOptions(LETTER, MATH),
        ask=in_one_image,
    ),
    "mathvista": BenchmarkSpec(
        "AI4Math/MathVista",
        "testmini",
        (
            Columns(images=("decoded_image",), options="choices", question_id=("pid",)),
            Columns(images=("image",), options="choices", question_id=("pid",)),
        ),
        MathVistaRule(),
        ask=with_precision,
    ),
    "we-math": BenchmarkSpec(
        "We-Math/We-Math",
        "testmini",
        (Columns(images=("image_path",), question_id=("ID",)),),
        LETTER,
        ask=with_option_text,
    ),
    "logicvista": BenchmarkSpec(
        "lscpku/LogicVista",
        "test",
        (Columns(images=("image",)), Columns(images=("imagename",))),
        FirstThatReads([COUNT, LETTERS]),
        unusable={"id": ("v1_382",)},
    ),
    "clevr": BenchmarkSpec(
        "BUAADreamer/clevr_count_70k",
        "test",
        (PROBLEM, Columns("problem", "solution", ("image",))),
        COUNT,
    ),
    "clevr-cogen": BenchmarkSpec(
        "leonardPKU/clevr_cogen_a_train",
        "train",
        (Columns("problem", "solution", ("image",)), PROBLEM),
        COUNT,
        held_out=0.025,
    ),
    "a-okvqa": BenchmarkSpec(
        "HuggingFaceM4/A-OKVQA",
        "validation",
        (Columns("question", "correct_choice_idx", ("image",), "choices", ("question_id",)),),
        ByIndex(),
    ),
    "mmk12": BenchmarkSpec(
        "FanqingM/MMK12", "test", (Columns(images=("image",)), PROBLEM, replace(PROBLEM, images=("image",))), LETTER
    ),
    "mmmu-pro": MMMU_PRO,
    "mmmu-pro-4": replace(MMMU_PRO, names=("standard (4 options)",)),
    "mmmu-pro-vision": BenchmarkSpec(
        "MMMU/MMMU_Pro",
        "test",
        # There is no column with the question.
        (Columns("image", "answer", ("image",), "options", ("id",)),),
        LETTER,
        names=("vision",),
        ask=shown_in_image,
    ),
    "virl39k": BenchmarkSpec(
        "PAPOGalaxy/PAPO_ViRL39K_train",
        "train",
        (PROBLEM, Columns(images=("image",)), Columns()),
        LETTER_OR_MATH,
        least_images=0,
        held_out=0.025,
    ),
    "mmmu": BenchmarkSpec(
        "MMMU/MMMU",
        "validation",
        (Columns(images=SEVEN_IMAGES, options="options", question_id=("id",)),),
        WithOptions(LETTER, OpenAnswers()),
        names=tuple(SUBJECTS.split()),
    ),
    "mmstar": BenchmarkSpec("Lin-Chen/MMStar", "val", (Columns(images=("image",)),), LETTER),
    "hallusionbench": BenchmarkSpec(
        "lmms-lab-encoder/HallusionBench",
        "image",
        (
            Columns("question", "gt_answer", ("image",), question_id=FIGURE),
            Columns("question", "gt_answer", ("filename",), question_id=FIGURE),
        ),
        FlagRule(),
        unless={"visual_input": "0"},
    ),
    "pope": BenchmarkSpec(
        "lmms-lab-encoder/POPE",
        "test",
        (
            Columns(images=("image",), question_id=("image_source",)),
            Columns("text", "label", ("image",), question_id=("image",)),
        ),
        Verified(YesNoVerifier()),
    ),
    "scienceqa": BenchmarkSpec(
        "lmms-lab-encoder/ScienceQA",
        "test",
        (Columns(images=("image",), options="choices"),),
        ByIndex(),
        names=("ScienceQA-IMG",),
        ask=with_hint,
    ),
    "chartqa": BenchmarkSpec(
        "lmms-lab-encoder/ChartQA",
        "test",
        (Columns(images=("image",)), Columns("query", "label", ("imgname",))),
        Verified(RelaxedVerifier()),
    ),
    "ai2d": BenchmarkSpec("lmms-lab-encoder/ai2d", "test", (Columns(images=("image",), options="options"),), ByIndex()),
}

SUITES: dict[str, tuple[str, ...]] = {
    # The thirteen sets of Xiao, Xu and Gan (2026).
    "vl-calibration": (
        "dynamath",
        "geometry3k",
        "mathverse",
        "mathvision",
        "mathvista",
        "we-math",
        "logicvista",
        "clevr",
        "mathverse-vision-only",
        "a-okvqa",
        "mmk12",
        "mmmu-pro",
        "virl39k",
    ),
    "all": tuple(BENCHMARKS),
}
