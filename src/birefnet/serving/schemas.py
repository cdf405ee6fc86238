"""The shapes of requests and answers: checked by these, and shown by these in the API's description."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from birefnet.pixels.writing import usual_name

Text = Annotated[str, Field(max_length=1000)]


def _usual_name(value: object) -> object:
    return usual_name(value) if isinstance(value, str) else value


class RemoveOptions(BaseModel):
    """Options of `/v1/remove`, named as those of `birefnet remove`."""

    model_config = ConfigDict(extra="forbid")

    model: Text | None = Field(None, description="A name of `/v1/models`; the server's default.", examples=["nano"])
    size: Annotated[str, Field(pattern=r"^(native|[1-9][0-9]{1,3}(x[1-9][0-9]{1,3})?)$")] | None = Field(
        None,
        description="What the network sees: a side, WIDTHxHEIGHT in multiples of 32, or native; the model's own.",
        examples=["1024", "1024x768", "native"],
    )
    refine: bool = Field(False, description="Free soft edges from the old background's colours.")
    refine_method: Literal["blur_fusion", "closed_form", "multi_level"] | None = Field(
        None, description="How; implies `refine`. The last two need `pymatting` on the server."
    )
    background: Text | None = Field(
        None,
        description="A colour (white, #ff8800, 255,136,0) or blur. A picture is sent as a file of that name in a form.",
        examples=["white", "#ff880080", "blur"],
    )
    mask_only: bool = Field(False, description="The same as output=mask.")
    output: Literal["cutout", "mask", "json"] = Field(
        "cutout", description="The cut-out, its alpha as a grey picture, or both with facts, as JSON."
    )
    format: Annotated[Literal["png", "webp", "tiff", "jpg"], BeforeValidator(_usual_name)] = Field(
        "png", description="jpg only where nothing is transparent."
    )
    quality: int = Field(90, ge=1, le=100, description="Of JPEG and of WebP in colour.")


class RembgOptions(BaseModel):
    """rembg's options, by its names; see docs/server.md for what is done differently."""

    model_config = ConfigDict(extra="forbid")

    model: Text | None = Field(None, description="rembg's or our name of a model; the server's default.")
    a: bool = Field(False, description="Alpha matting. Here: edge colours are cleaned; the alpha is the network's.")
    af: int = Field(240, ge=0, le=255, description="Of rembg's matting; checked, without effect here.")
    ab: int = Field(10, ge=0, le=255, description="Of rembg's matting; checked, without effect here.")
    ae: int = Field(10, ge=0, description="Of rembg's matting; checked, without effect here.")
    om: bool = Field(False, description="Only the mask.")
    ppm: bool = Field(False, description="Post-process the mask: a hard edge, thin spots removed.")
    dc: bool = Field(False, description="Decontaminate: the same as `a` here.")
    bgc: Text | None = Field(None, description="Background colour: r,g,b,a in 0..255.", examples=["255,255,255,255"])
    extras: Annotated[str, Field(max_length=65_536)] | None = Field(
        None, description="A JSON object; must be empty: no model here has extras.", examples=["{}"]
    )


FalModel = Literal[
    "General Use (Light)",
    "General Use (Light 2K)",
    "General Use (Heavy)",
    "Matting",
    "Portrait",
    "General Use (Dynamic)",
]


class FalInput(BaseModel):
    """The input of fal's `birefnet/v2`."""

    image_url: str = Field(
        description="A data URI; or an address, where `/v1/models` says that the server fetches them.",
        examples=[
            "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg=="
        ],
    )
    model: FalModel | None = Field(
        None, description="fal's name of a model; left out, the server's default (fal's: General Use (Light))."
    )
    operating_resolution: Literal["1024x1024", "2048x2048", "2304x2304"] | None = Field(
        None, description="What the network sees; left out, the model's own size (fal's: 1024x1024)."
    )
    output_format: Literal["webp", "png", "gif"] = "png"
    output_mask: bool = Field(False, description="Also return `mask_image`.")
    mask_only: bool = Field(False, description="Return the mask as `image`.")
    refine_foreground: bool = True
    sync_mode: bool = Field(False, description="Data URIs in the answer instead of addresses on this server.")


class FalImage(BaseModel):
    """A file of an answer of fal's shape."""

    url: str
    content_type: str
    file_name: str
    file_size: int = Field(description="In bytes.")
    width: int
    height: int


class FalOutput(BaseModel):
    """The output of fal's `birefnet/v2`."""

    image: FalImage
    mask_image: FalImage | None = None


class FalProblem(BaseModel):
    """One thing wrong with a request of fal's shape."""

    loc: list[str | int]
    msg: str
    type: str


class FalProblems(BaseModel):
    """What is wrong with a request of fal's shape."""

    detail: list[FalProblem]


class Problem(BaseModel):
    """Why a request was not answered as asked: one sentence."""

    detail: str


class RemoveAnswer(BaseModel):
    """The answer of `/v1/remove` with output=json."""

    model: str
    width: int = Field(description="Of the picture, upright, in pixels.")
    height: int
    has_foreground: bool = Field(description="False where no subject was found.")
    image: str = Field(description="The cut-out, as a data URI.")
    mask: str = Field(description="Its alpha as a grey PNG, as a data URI.")
    seconds: dict[str, float] = Field(description="By stage: read, wait, network, cut, write.")


class ModelRow(BaseModel):
    """A model that may be asked for."""

    name: str
    default: bool
    loaded: bool
    size: list[int] | None = Field(description="[width, height] it was made for; null where only its file knows.")
    task: str
    aliases: list[str] = Field(description="Other names it answers to.")
    license: str


class Limits(BaseModel):
    """What this server takes."""

    bytes: int
    pixels: int
    seconds: float
    fetches_urls: bool


class ModelList(BaseModel):
    """The answer of `/v1/models`."""

    models: list[ModelRow]
    limits: Limits


class State(BaseModel):
    """The answer of `/health` and `/ready`."""

    status: Literal["ok", "ready", "stopping"]


def query_parameters(options: type[BaseModel], *extra: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of options as OpenAPI's query parameters."""
    properties = options.model_json_schema()["properties"]
    return [*extra, *({"name": name, "in": "query", "schema": schema} for name, schema in properties.items())]


def form_schema(options: type[BaseModel], *files: str, required: str) -> dict[str, Any]:
    """The fields of options, and files, as OpenAPI's schema of a form."""
    picture = {"type": "string", "format": "binary"}
    properties = options.model_json_schema()["properties"]
    return {
        "type": "object",
        "properties": {**{name: picture for name in files}, **properties},
        "required": [required],
        "additionalProperties": False,
    }
