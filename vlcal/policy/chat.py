"""How a checkpoint holds a conversation: its chat template, what that opens of a response, and what ends one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import GenerationConfig, PreTrainedTokenizerBase, ProcessorMixin

from vlcal.errors import UserError, one_line
from vlcal.text import unclosed

# Probes of a template. One that writes a list of parts as Python does would write the line break as two characters.
QUESTION = "What is\nthere?"
REPLY = "A seven."
UNFIT = (TemplateError, TypeError, ValueError)  # what a template raises that is made for other messages, or is missing


def prompt_text(processor: ProcessorMixin, question: str, images: int) -> str:
    """The prompt that asks a question about as many images, up to where the response starts."""
    text: str = processor.apply_chat_template([_asked(question, images)], add_generation_prompt=True)
    return text


def prompt_opening(processor: ProcessorMixin) -> str:
    """What a prompt has written of the response: from the first tag of the grammar that it leaves open.

    The template of a thinking model ends its prompts with `<think>`, which the model then does not write again.
    """
    return unclosed(prompt_text(processor, QUESTION, 0).rpartition(QUESTION)[2])


def end_tokens(processor: ProcessorMixin, generation: GenerationConfig) -> list[int]:
    """The tokens that end a completion: those of template, tokenizer and generation config, in this order.

    Any of them may be the one that the model was trained to end with.

    Raises:
        UserError: If there is none.
    """
    ends = generation.eos_token_id
    candidates = [_turn_end(processor), processor.tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])]
    known = list(dict.fromkeys(token for token in candidates if token is not None))
    if not known:
        raise UserError(
            "`path` must name the token that ends a completion; chat template, tokenizer and generation config of this "
            "checkpoint name none. Set `eos_token` in tokenizer_config.json."
        )
    return known


def set_template(processor: ProcessorMixin, settings: Mapping[str, Any]) -> None:
    """Write settings into the chat template, so that whoever loads the processor again gets the same prompts.

    Raises:
        UserError: If the template does not read one of them.
    """
    template = processor.chat_template
    template = template["default"] if isinstance(template, dict) else template
    written = re.match(r"(?:\{% set \w+ = .*? \+%\})*", template)
    assert written is not None
    before = dict(re.findall(r"\{% set (\w+) = (.*?) \+%\}", written.group()))
    template = template[written.end() :]
    unread = [name for name in settings if not re.search(rf"\b{re.escape(name)}\b", template)]
    if unread:
        raise UserError(
            f"`template` must hold settings that the chat template of the checkpoint reads; it reads no {unread[0]!r}. "
            "Leave it out; the settings are variables in chat_template.jinja."
        )
    held = before | {name: json.dumps(value) for name, value in settings.items()}
    # `+%}` keeps what follows as it is.
    processor.chat_template = "".join(f"{{% set {name} = {value} +%}}" for name, value in held.items()) + template


def check_processor(processor: ProcessorMixin) -> None:
    """Refuse a checkpoint whose chat template does not write questions about images, or that cannot batch them.

    Raises:
        UserError: With what the template does instead, or if there is no padding token.
    """
    try:
        alone, shown = (prompt_text(processor, QUESTION, images) for images in (0, 1))
    except UNFIT as error:
        fault = f"refuses a question about an image ({one_line(error)})"
    else:
        written = QUESTION in alone and QUESTION in shown
        fault = "" if alone != shown else "writes nothing for an image"
        fault = fault if written else "does not write the text of a question"
    if fault:
        raise UserError(
            f"`path` must be a checkpoint with a chat template for questions about images; that of this one {fault}. "
            "Put the chat_template.jinja of a vision-language model of its family into the folder."
        )
    if processor.tokenizer.pad_token_id is None:
        raise UserError(
            "`path` must be a checkpoint whose tokenizer has a padding token, since prompts of different lengths are "
            "batched; this one has none. Set `pad_token` in tokenizer_config.json, for example to its end token "
            f"{processor.tokenizer.eos_token!r}."
        )


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, embeddings: int) -> None:
    """Refuse a tokenizer that has tokens without an embedding.

    Raises:
        UserError: With the last of them.
    """
    token, last = max(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    if last >= embeddings:
        raise UserError(
            f"`path` must be a checkpoint whose tokenizer fits its weights; this one has {embeddings} embeddings, and "
            f"its tokenizer goes up to token {last}, {token!r}. Use the tokenizer that the weights were saved with, or "
            "resize_token_embeddings of transformers."
        )


def _asked(question: str, images: int) -> dict[str, Any]:
    return {"role": "user", "content": [*[{"type": "image"}] * images, {"type": "text", "text": question}]}


def _turn_end(processor: ProcessorMixin) -> int | None:
    """The token behind a reply in the chat template; None where there is none, or the template writes no replies."""
    contents: list[Any] = [[{"type": "text", "text": REPLY}], REPLY]  # some templates take a reply as text alone
    for content in contents:
        try:
            text = processor.apply_chat_template([_asked(QUESTION, 0), {"role": "assistant", "content": content}])
        except UNFIT:
            continue
        _, reply, rest = text.rpartition(REPLY)
        added = {str(mark): token for token, mark in processor.tokenizer.added_tokens_decoder.items()}
        marks = [mark for mark in added if reply and rest.lstrip().startswith(mark)]
        if marks:
            return added[max(marks, key=len)]
    return None
