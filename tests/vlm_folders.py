"""Folders of tiny vision-language models as a silo has them: configuration, weights, tokenizer, picture processor."""

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from tests.tiny_vlms import tiny_vlm

SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
IMAGE_TOKEN = "<image>"
VOCABULARY_SIZE = 64
PICTURE_SIDE = 16


def character_tokenizer() -> PreTrainedTokenizerFast:
    """One token per lower-case letter, space and full stop; the picture's token is the last of the vocabulary."""
    words = [*SPECIAL_TOKENS, *"abcdefghijklmnopqrstuvwxyz .\n"]
    words += [f"<reserved{number}>" for number in range(VOCABULARY_SIZE - 1 - len(words))] + [IMAGE_TOKEN]
    model = models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in (*SPECIAL_TOKENS, IMAGE_TOKEN)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def llava_processor() -> LlavaProcessor:
    """For tiny LLaVA: 16 x 16 pixels, patches of 8, the class token dropped."""
    side = {"height": PICTURE_SIDE, "width": PICTURE_SIDE}
    pictures = CLIPImageProcessorPil(size={"shortest_edge": PICTURE_SIDE}, crop_size=side)
    return LlavaProcessor(
        pictures,
        character_tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE_TOKEN,
    )


def idefics3_processor() -> Idefics3Processor:
    """For tiny Idefics3: pictures of 16 x 16 pixels, never split; 4 image tokens each."""
    longest = {"longest_edge": PICTURE_SIDE}
    pictures = Idefics3ImageProcessorPil(size=longest, max_image_size=longest, do_image_splitting=False)
    return Idefics3Processor(
        pictures,
        character_tokenizer(),
        image_seq_len=4,
        chat_template=(
            "{% for m in messages %}{% for c in m['content'] %}"
            "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"
            "{% if add_generation_prompt %}\n{% endif %}"
        ),
    )


PROCESSORS: dict[str, Any] = {"llava": llava_processor, "idefics3": idefics3_processor}


def write_vlm(family: str, folder: Path) -> Path:
    """Writes the family's tiny model and its processor; gives the folder."""
    tiny_vlm(family).save_pretrained(folder)
    PROCESSORS[family]().save_pretrained(folder)
    return folder
