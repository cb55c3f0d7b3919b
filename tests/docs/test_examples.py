"""Every example of the documents: commands are run or parsed, configs are parsed, Python is executed.

Examples are discovered, never listed. A block without a language holds commands; plain output is marked as ```text.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from jsonargparse import ArgumentError, ArgumentParser
from packaging.requirements import Requirement
from PIL import Image

from tests.evaluation.outputs.inspect_logs import archive, sample
from vlcal.cli import check_command, main
from vlcal.commands.catalogue import LIGHTNING_COMMANDS, command_parser
from vlcal.commands.trainer import Cli
from vlcal.demo import BASE
from vlcal.errors import UserError
from vlcal.inference.run_config import RunConfig
from vlcal.policy.folder import write_contract
from vlcal.text import Grammar

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# What stands for a value of the reader's own.
PLACEHOLDERS = {"FILE": "my_experiment.yaml", "GIB": "16", "...": "run.ckpt"}
FEW_DRAWS = "10"  # of the bootstrap
# Programs of others, which no environment of ours has.
FOREIGN = {"env", "srun", "torchrun", "vllm"}


@dataclass(frozen=True)
class Example:
    """A piece of a document that can be run.

    Args:
        place: File and line.
        language: Of a fenced block as it is marked; "span" for code within a sentence.
        text: What stands there.
    """

    place: str
    language: str
    text: str


def examples(path: Path) -> Iterator[Example]:
    """All fenced blocks and all code within sentences, from the top."""
    text = path.read_text(encoding="utf-8")
    fenced = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for block in fenced.finditer(text):
        yield Example(place(path, text, block.start()), block[1], block[2])
    prose = fenced.sub(lambda block: "\n" * block[0].count("\n"), text)
    for span in re.finditer(r"`([^`\n]+)`", prose):
        yield Example(place(path, prose, span.start()), "span", span[1])


def place(path: Path, text: str, start: int) -> str:
    return f"{path.name}:{text.count(chr(10), 0, start) + 1}"


EXAMPLES = [example for path in DOCUMENTS for example in examples(path)]


def of(claims: Callable[[Example], bool]) -> pytest.MarkDecorator:
    """The examples of a kind, each a test of its own; there must be some."""
    chosen = [pytest.param(example, id=example.place) for example in EXAMPLES if claims(example)]
    assert chosen, "no such example was found in the documents"
    return pytest.mark.parametrize("example", chosen)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with what the documents take for granted: configs, a config of one's own, a run."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    experiment = yaml.safe_load((ROOT / "configs" / "digits" / "best.yaml").read_text(encoding="utf-8"))
    experiment["data"]["init_args"].update(steps=1, batch_size=2, held_out=2)
    (tmp_path / "my_experiment.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "warm_experiment.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    (tmp_path / "warmup.yaml").write_text("recipe: warmup\n", encoding="utf-8")
    (tmp_path / "runs" / "demo" / "warm").symlink_to(BASE)  # `doctor` counts responses in the form
    torch.save({"pytorch-lightning_version": "2.6.0", "state_dict": {}}, tmp_path / "run.ckpt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Commands


def is_command(example: Example) -> bool:
    if example.language == "span":
        return re.match(rf"(?:\S+/bin/)?(?:{'|'.join([*PROGRAMS, *FOREIGN])}) ", example.text) is not None
    return example.language in {"", "sh", "bash", "console"}


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command, comments and prompts left out."""
    for line in text.replace("\\\n", " ").splitlines():
        for one in line.removeprefix("$ ").split(" && "):
            if words := shlex.split(one, comments=True):
                yield [PLACEHOLDERS.get(word, word) for word in words]


def run_vlcal(words: list[str]) -> None:
    """Run what is quick; parse the rest by the parser of the command."""
    check_command(words)
    name, *args = words
    if name in LIGHTNING_COMMANDS:
        explain_or_parse(words)
    elif name in {"score", "report"} and args:
        given = command_parser(name).parse_args(args)
        for path in given.get("files") or given.get("runs"):
            write_outputs(path, vars(given))
        main([*words, "--draws", FEW_DRAWS])
    elif name == "doctor" and args:
        main(words)
    elif args:
        command_parser(name).parse_args(args)


class Parsed(Cli):
    """The command line up to the config, from which nothing is made."""

    def instantiate_classes(self) -> None:
        pass

    def after_instantiate_classes(self) -> None:
        pass

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def explain_or_parse(words: list[str]) -> None:
    if any(word == "--print_config" or word.endswith("help") for word in words):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert not ended.value.code, ended.value.code
    elif words[1:]:
        Parsed(words)


def write_outputs(path: Path, options: dict[str, Any]) -> None:
    """Outputs in a file of that name, in the form that its name says, with the columns that the options name."""
    if not path.suffix:
        for name in ("before.jsonl", "after.jsonl"):
            write_outputs(path / name, options)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = pd.DataFrame([row(number, path, options) for number in range(24)])
    match path.suffix:
        case ".jsonl":
            rows.to_json(path, orient="records", lines=True)
        case ".xlsx":
            rows.to_excel(path, index=False)
        case ".parquet":
            rows.to_parquet(path)
        case ".csv":
            rows.to_csv(path, index=False)
        case ".eval":
            archive(path, *(sample(number, text, match="IC"[number % 2]) for number, text in enumerate(rows["text"])))


def row(number: int, path: Path, options: dict[str, Any]) -> dict[str, Any]:
    """One response; every second one is right, and surer of itself."""
    right, level = number % 2, 3 + number % 2 * 4 + number % 3
    text = Grammar().render("7 and 3", "7+3=10", "10", f'Confidence: {level}0% "confidence": .{level}', level, level)
    if "samples_" in path.name:  # a log of lmms-eval
        log = {"doc_id": number, "target": "10", "resps": [[text]], "filtered_resps": [text]}
        return {**log, "filter": options.get("filter") or "none", options.get("correct") or "exact_match": right}
    if path.suffix == ".eval":  # a log of Inspect
        return {"text": text}
    if path.suffix == ".xlsx":  # a table of VLMEvalKit
        return {"index": number, "prediction": text, "hit": right}
    kinds = {options.get(kind) or column: level / 10 for kind, column in COLUMNS.items()}
    truths = dict.fromkeys(("correct", "perception_correct", "reasoning_correct"), right)
    return {"id": f"q{number}", "question_id": f"q{number // 2}", "dataset": "digits", **kinds, **truths}


COLUMNS = {"confidence": "overall", "visual": "visual", "reasoning": "reasoning"}


def run_make(words: list[str]) -> None:
    """What make would do; it fails for a target that is not there."""
    done = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for variable in (word.partition("=")[0] for word in words if "=" in word):
        assert re.search(rf"^{variable} \?=", makefile, re.MULTILINE), f"the Makefile has no variable {variable}"


def run_pip(words: list[str]) -> None:
    """What would be installed must be this package with extras that it has, or something that it asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = {Requirement(line).name for line in [*project["dependencies"], *chain(*extras.values())]}
    command, *wanted = (word for word in words if not word.startswith("-"))
    for file in [word for word in wanted if word.endswith(".txt")]:
        assert (ROOT / file).exists(), f"{file} is not there"
        wanted.remove(file)
    assert command == "install" and wanted
    for one in map(Requirement, (word.removeprefix("./").replace(".[", "vlcal[") for word in wanted)):
        assert one.name in {"vlcal", *asked}, f"nothing here needs {one.name}"
        assert one.name != "vlcal" or one.extras <= extras.keys(), f"vlcal has no extras {one.extras - extras.keys()}"


def run_tool(words: list[str]) -> None:
    """Paths that a tool of the test environment is given must be there."""
    for word in words:
        assert "/" not in word or (ROOT / word).exists(), f"{word} is not there"


PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "vlcal": run_vlcal,
    "make": run_make,
    "pip": run_pip,
    "pytest": run_tool,
    "ruff": run_tool,
    "mypy": run_tool,
    "python": run_tool,
    "tensorboard": run_tool,
}


@of(is_command)
def test_every_command_runs_or_is_parsed(desk: Path, example: Example) -> None:
    found = [*commands(example.text)]
    assert found, "an empty block"
    for program, *words in found:
        name = Path(program).name
        assert name in PROGRAMS or name in FOREIGN, f"{program} is no command; mark plain output as ```text"
        if name in PROGRAMS:
            PROGRAMS[name](words)


@of(lambda example: example.language == "span" and example.text.startswith(("--model.", "--data.", "--trainer.")))
def test_every_override_fits_a_recipe(desk: Path, example: Example) -> None:
    (words,) = commands(example.text)
    errors = []
    for recipe in sorted((ROOT / "configs" / "digits").glob("*.yaml")):
        try:
            Parsed(["fit", "--config", str(recipe), *words])
        except (ArgumentError, UserError) as error:
            errors.append(f"{recipe.name}: {error}")
        else:
            return
    pytest.fail("\n".join(errors))


# Configs


@of(lambda example: example.language in {"yaml", "yml"})
def test_every_config_is_parsed(desk: Path, example: Example) -> None:
    config = yaml.safe_load(example.text)
    if config.keys() & {"model", "data", "trainer"}:
        (desk / "example.yaml").write_text(example.text, encoding="utf-8")
        Parsed(["fit", "--config", "my_experiment.yaml", "--config", "example.yaml"])
        return
    described = [*parts(config)]
    assert described, "a config must be a part of a run or describe parts by their class_path"
    for part in described:
        parse_part(part)


def parts(node: Any) -> Iterator[dict[str, Any]]:
    """The outermost mappings that have a class_path."""
    if isinstance(node, dict) and "class_path" in node:
        yield node
    elif isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from parts(child)


def parse_part(part: dict[str, Any]) -> None:
    module, _, name = part["class_path"].rpartition(".")
    parser = ArgumentParser(parser_mode="omegaconf+", exit_on_error=False)
    parser.add_argument("--part", type=getattr(importlib.import_module(module), name))
    parser.parse_object({"part": json.loads(json.dumps(part))})


# Python


@pytest.fixture
def trained(desk: Path, embedded: Path) -> Path:
    """A run's folder as the documents call it, with a model that was never trained, and an image."""
    folder = desk / "runs" / "my_experiment"
    shutil.copytree(embedded, folder)
    write_contract(folder, RunConfig(desk / "my_experiment.yaml").part("model"), None)
    Image.new("RGB", (96, 32)).save(desk / "photo.png")
    return folder


@of(lambda example: example.language == "python")
def test_every_python_block_is_executed(trained: Path, example: Example) -> None:
    exec(compile(example.text, example.place, "exec"), {"np": np})


def test_every_block_has_a_language_that_is_checked_or_is_plain_output() -> None:
    known = {"", "sh", "bash", "console", "yaml", "yml", "python", "py", "text", "span"}
    files = [one.text for one in EXAMPLES if one.language == "py"]  # which tests/docs/test_own_parts.py runs

    assert [(one.place, one.language) for one in EXAMPLES if one.language not in known] == []
    assert [text for text in files if not re.fullmatch(r'--8<-- "\w+\.py"\n', text)] == []


@of(lambda example: re.fullmatch(r"vlcal(\.\w+)+", example.text) is not None)
def test_every_name_in_the_package_exists(example: Example) -> None:
    module, _, name = example.text.rpartition(".")

    assert hasattr(importlib.import_module(module), name) or importlib.import_module(example.text)
