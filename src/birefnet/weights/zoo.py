"""Every released model, one row each: what it is for, where its weights are, and what is known of the files.

Repositories, files, revisions and checksums are those the authors publish (https://huggingface.co/ZhengPeng7 and
https://github.com/ZhengPeng7/BiRefNet/releases). Where they publish no checksum, a repository is taken at its branch
`main`, and only what the table knows (the size, the first digits of a hash) is checked. A new model is a new row.
Needs no torch.
"""

from __future__ import annotations

from functools import cache
from pathlib import PurePosixPath

from birefnet.errors import UnknownModel, nearest
from birefnet.weights.entries import BundledFile, File, HubFile, ReleaseFile, ZooEntry
from birefnet.weights.formats import FORMATS, WEIGHTS_SUFFIXES

AUTHOR = "ZhengPeng7"
OFFICIAL = f"{AUTHOR}/BiRefNet/releases/download/v1"
REMBG = "danielgatis/rembg/releases/download/v0.0.0"

DIS = "DIS5K among others, whose terms are non-commercial"
DIS_ONLY = "DIS5K, whose terms are non-commercial"
PUBLIC = "public sets, each with terms of its own"
PORTRAITS = "P3M-10k and humans: the clearest origin, still with terms of its own"
OWN = "openly licensed pictures, see docs/models.md"

LARGE_HALF, LARGE, TINY_HALF, TINY = 444.5, 844.0, 89.0, 178.0  # megabytes of Swin-L and Swin-T in fp16 and fp32


def _hub(
    name: str, *, revision: str = "main", seen: str = "", sha256: str = "", megabytes: float | None = None
) -> HubFile:
    repository = f"{AUTHOR}/{name}"
    return HubFile(repository=repository, revision=revision, seen=seen, sha256=sha256, megabytes=megabytes)


def _pth(stem: str, megabytes: float = LARGE) -> ReleaseFile:
    return ReleaseFile(path=f"{OFFICIAL}/{stem}.pth", megabytes=megabytes)


def _onnx(
    stem: str,
    *,
    base: str = OFFICIAL,
    sha256: str = "",
    md5: str = "",
    size: int | None = None,
    megabytes: float | None = None,
) -> ReleaseFile:
    about = round(size / 1e6, 1) if size is not None else megabytes
    return ReleaseFile(path=f"{base}/{stem}.onnx", sha256=sha256, md5=md5, size=size, megabytes=about)


# Where the author's ONNX file has no published hash, rembg's copy of it has one (md5), and is taken.
_ROWS = (
    ZooEntry(
        name="nano",
        task="bundled: small, quick, offline",
        backbone="mobilenet_v2",
        size=(576, 576),
        weights=BundledFile(filename="nano.safetensors"),
        onnx=BundledFile(filename="nano.onnx"),
        aliases=("birefnet-nano",),
        upsample="guided",
        data=OWN,
    ),
    ZooEntry(
        name="general",
        task="general",
        weights=_hub("BiRefNet", revision="e2bf8e4460fc8fa32bba5ea4d94b3233d367b0e4", megabytes=LARGE_HALF),
        release=_pth("BiRefNet-general-epoch_244"),
        onnx=_onnx("BiRefNet-general-epoch_244", sha256="58f621f0", megabytes=972.7),
        aliases=("birefnet-general", "General Use (Light)"),
        data=DIS,
    ),
    ZooEntry(
        name="lite",
        task="general, small",
        backbone="swin_v1_t",
        weights=_hub("BiRefNet_lite", seen="7838f1c"),
        release=_pth("BiRefNet-general-bb_swin_v1_tiny-epoch_232", TINY),
        onnx=_onnx(
            "BiRefNet-general-bb_swin_v1_tiny-epoch_232",
            sha256="5600024376f572a557870a5eb0afb1e5961636bef4e1e22132025467d0f03333",
            size=224_005_088,
        ),
        # fal's "Heavy" is this small network: so says its own page.
        aliases=("BiRefNet_T", f"{AUTHOR}/BiRefNet_T", "birefnet-general-lite", "General Use (Heavy)"),
        data=DIS,
    ),
    ZooEntry(
        name="lite-2k",
        task="general, small, large pictures",
        backbone="swin_v1_t",
        size=(2560, 1440),
        weights=_hub("BiRefNet_lite-2K"),
        release=_pth("BiRefNet_lite-general-2K-epoch_232", TINY),
        onnx=_onnx("BiRefNet_lite-general-2K-epoch_232", sha256="6003d2f7", size=331_082_421),
        aliases=("General Use (Light 2K)",),
        data=DIS,
    ),
    ZooEntry(
        name="general-512",
        task="general, low resolution",
        size=(512, 512),
        weights=_hub("BiRefNet_512x512", megabytes=LARGE_HALF),
        release=_pth("BiRefNet-general-resolution_512x512-fp16-epoch_216", LARGE_HALF),
        onnx=_onnx("BiRefNet-general-resolution_512x512-fp16-epoch_216", sha256="18b64a27"),
        aliases=("512", "512x512"),
        note="the large network, not a small one",
        data=DIS,
    ),
    ZooEntry(
        name="hr",
        task="general, high resolution",
        size=(2048, 2048),
        weights=_hub("BiRefNet_HR", seen="a7a562f", megabytes=LARGE_HALF),
        release=_pth("BiRefNet_HR-general-epoch_130"),
        onnx=_onnx("BiRefNet_HR-general-epoch_130", sha256="db0217e9", size=1_098_928_953),
        data=DIS,
    ),
    ZooEntry(
        name="hr-matting",
        task="hair and translucency, high resolution",
        size=(2048, 2048),
        weights=_hub("BiRefNet_HR-matting", revision="5d6b6f8adcb5b417c871b1d84ceaae9871355b7f", megabytes=LARGE_HALF),
        release=_pth("BiRefNet_HR-matting-epoch_135"),
        onnx=_onnx("BiRefNet_HR-matting-epoch_135", size=1_098_928_867),
        data=PUBLIC,
    ),
    ZooEntry(
        name="dynamic",
        task="general, any size from 256 to 2304",
        weights=_hub("BiRefNet_dynamic", seen="2803060", megabytes=LARGE_HALF),
        release=_pth("BiRefNet_dynamic-general-epoch_174"),
        dynamic=True,
        aliases=("General Use (Dynamic)",),
        data=DIS,
    ),
    ZooEntry(
        name="dynamic-matting",
        task="hair and translucency, any size from 256 to 2304",
        weights=_hub("BiRefNet_dynamic-matting", megabytes=LARGE_HALF),
        release=_pth("BiRefNet_dynamic-matting-epoch_159"),
        dynamic=True,
        data=PUBLIC,
    ),
    ZooEntry(
        name="matting",
        task="hair and translucency",
        weights=_hub("BiRefNet-matting", megabytes=LARGE_HALF),
        release=_pth("BiRefNet-matting-epoch_100"),
        onnx=_onnx("BiRefNet-matting-epoch_100", sha256="6065d27c", size=972_667_742),
        data=PUBLIC,
    ),
    ZooEntry(
        name="lite-matting",
        task="hair and translucency, small",
        backbone="swin_v1_t",
        weights=_hub(
            "BiRefNet_lite-matting",
            revision="99c33412e3f58e1f33187abdc8c435c645243690",
            sha256="ce8bcfc045e336322c0424a5863dcfb7e9ce8fed0a5fd4d1b2b20adf12d97243",
            megabytes=TINY_HALF,
        ),
        data=PUBLIC,
    ),
    ZooEntry(
        name="lite-anime",
        task="drawings, small",
        backbone="swin_v1_t",
        weights=_hub("BiRefNet_lite-anime"),
        data=PUBLIC,
    ),
    ZooEntry(
        name="portrait",
        task="people",
        weights=_hub("BiRefNet-portrait", seen="ecdeb62", megabytes=LARGE_HALF),
        release=_pth("BiRefNet-portrait-epoch_150"),
        onnx=_onnx("BiRefNet-portrait-epoch_150", sha256="1ba1c8ff", size=972_666_916),
        data=PORTRAITS,
    ),
    ZooEntry(
        name="legacy",
        task="general, earlier weights",
        weights=_hub("BiRefNet-legacy", megabytes=LARGE_HALF),
        note="superseded by `general`; for comparison with older results",
        data=DIS,
    ),
    ZooEntry(
        name="dis",
        task="benchmark DIS5K",
        weights=_hub("BiRefNet-DIS5K", megabytes=LARGE_HALF),
        release=_pth("BiRefNet-DIS-epoch_590"),
        onnx=_onnx("BiRefNet-DIS-epoch_590", base=REMBG, md5="2d4d44102b446f33a4ebb2e56c051f2b"),
        aliases=("birefnet-dis",),
        data=DIS_ONLY,
    ),
    ZooEntry(
        name="dis-tr-tes",
        task="benchmark DIS5K, its test sets seen too",
        weights=_hub("BiRefNet-DIS5K-TR_TEs", megabytes=LARGE_HALF),
        release=_pth("BiRefNet-massive-TR_DIS5K_TR_TEs-epoch_420"),
        onnx=_onnx("BiRefNet-massive-TR_DIS5K_TR_TEs-epoch_420", base=REMBG, md5="33e726a2136a3d59eb0fdf613e31e3e9"),
        aliases=("massive", "birefnet-massive"),
        note="never judge it on DIS-TE1..4",
        data=DIS_ONLY,
    ),
    ZooEntry(
        name="hrsod",
        task="benchmark salient objects",
        weights=_hub("BiRefNet-HRSOD", megabytes=LARGE_HALF),
        release=_pth("BiRefNet-HRSOD_DHU-epoch_115"),
        onnx=_onnx("BiRefNet-HRSOD_DHU-epoch_115", base=REMBG, md5="c017ade5de8a50ff0fd74d790d268dda"),
        data=PUBLIC,
    ),
    ZooEntry(
        name="cod",
        task="camouflaged objects",
        weights=_hub("BiRefNet-COD", megabytes=LARGE_HALF),
        release=_pth("BiRefNet-COD-epoch_125"),
        onnx=_onnx("BiRefNet-COD-epoch_125", base=REMBG, md5="f6d0d21ca89d287f17e7afe9f5fd3b45"),
        data=PUBLIC,
    ),
    ZooEntry(
        name="dis-580",
        task="benchmark DIS5K, oldest",
        weights=_pth("BiRefNet-DIS_ep580"),
        mean=(0.5, 0.5, 0.5),
        std=(1.0, 1.0, 1.0),
        note="users feed it with mean 0.5 and deviation 1",
        data=DIS_ONLY,
    ),
    ZooEntry(
        name="ep480",
        task="general, oldest",
        weights=_pth("BiRefNet-ep480"),
        mean=(0.5, 0.5, 0.5),
        std=(1.0, 1.0, 1.0),
        note="users feed it with mean 0.5 and deviation 1",
        data=DIS,
    ),
    ZooEntry(name="massive-240", task="general, old", weights=_pth("BiRefNet-massive-epoch_240"), data=DIS),
    ZooEntry(
        name="massive-lite-235",
        task="general, small, old",
        backbone="swin_v1_t",
        weights=_pth("BiRefNet-massive-bb_swin_v1_tiny-epoch_235", TINY),
        data=DIS,
    ),
    ZooEntry(
        name="portrait-120",
        task="people, old",
        weights=_pth("BiRefNet-portrait-TR_P3M_10k-epoch_120"),
        data="P3M-10k, which has terms of its own",
    ),
)

ZOO: dict[str, ZooEntry] = {row.name: row for row in _ROWS}


def find(name: str) -> ZooEntry:
    """The model called `name`: its short name, repository, release file or an alias, in any case and with `-` or `_`.

    Raises:
        UnknownModel: if there is none; the message says which are known and which is nearest.
    """
    entry = _index().get(_key(name))
    if entry is not None:
        return entry
    raise UnknownModel(f"No model named `{name}`; known: {', '.join(ZOO)}", hint=suggest(name))


def suggest(name: str) -> str | None:
    """A hint at the model whose name, or one of whose names, is nearest to `name`; None where none is near."""
    near = nearest(_key(name), _index())
    return None if near is None else f"did you mean `{_index()[near].name}`?"


def knows(name: str) -> bool:
    """Whether `find` would find it."""
    return _key(name) in _index()


def weights_of(name: str) -> File:
    """The file with the weights of the model called `name`.

    That is the repository's file, or the release's checkpoint if it is that which `name` names.

    Raises:
        UnknownModel: if there is no such model.
    """
    entry = find(name)
    if entry.release is not None and _key(name) == _key(PurePosixPath(entry.release.path).stem):
        return entry.release
    return entry.weights


def onnx_of(name: str) -> File:
    """The ONNX file of the model called `name`.

    Raises:
        UnknownModel: if there is no such model, or no such file of it.
    """
    entry = find(name)
    if entry.onnx is None:
        raise UnknownModel(
            f"No ONNX file of `{entry.name}` is published; its weights run with PyTorch: pip install 'birefnet[torch]'"
        )
    return entry.onnx


def _key(name: str) -> str:
    key = name.strip().lower()
    for suffix in (*WEIGHTS_SUFFIXES, *FORMATS["onnx"].suffixes):
        key = key.removesuffix(suffix)
    return key.replace("_", "-").replace(" ", "-")


@cache
def _index() -> dict[str, ZooEntry]:
    index: dict[str, ZooEntry] = {}
    for entry in ZOO.values():
        for name in entry.names():
            known = index.setdefault(_key(name), entry)
            assert known is entry, f"`{name}` names both `{known.name}` and `{entry.name}`"
    return index
