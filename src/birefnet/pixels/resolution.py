"""How many pixels an inch has: read from every kind of file, and kept in those that are written."""

from __future__ import annotations

import math
from typing import Any

from PIL import ExifTags, Image

Dpi = tuple[float, float]  # across, down

_LEAST, _MOST = 1, 65_535  # that every format can hold
_PER_UNIT = {2: 1.0, 3: 2.54}  # EXIF's and TIFF's inch and centimetre


def resolution(image: Image.Image) -> Dpi | None:
    """What a picture says of itself, in pixels an inch; None if nothing that can be meant."""
    given = image.info.get("dpi")
    try:
        return _checked(given) if given else _from_exif(image.getexif())
    except Exception:  # foreign data: broken EXIF data is no reason to refuse a picture
        return None


def _from_exif(exif: Image.Exif) -> Dpi | None:
    factor = _PER_UNIT.get(exif.get(ExifTags.Base.ResolutionUnit, 2))
    both = exif.get(ExifTags.Base.XResolution), exif.get(ExifTags.Base.YResolution)
    if factor is None or None in both:
        return None
    return _checked([float(value) * factor for value in both if value is not None])


def _checked(given: Any) -> Dpi | None:
    across, down = (float(value) for value in given)
    return (across, down) if all(math.isfinite(v) and _LEAST <= v <= _MOST for v in (across, down)) else None


def options(format: str, dpi: Dpi | None) -> dict[str, Any]:
    """The settings of Pillow's writers that keep it; WebP has a place for it in EXIF data only."""
    if dpi is None:
        return {}
    if format != "WEBP":
        return {"dpi": dpi}
    exif = Image.Exif()
    exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = dpi
    exif[ExifTags.Base.ResolutionUnit] = 2
    return {"exif": exif.tobytes()}
