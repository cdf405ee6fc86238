"""Colour spaces that files describe by numbers instead of a profile: PNG's gAMA, cHRM and cICP, AVIF's and HEIC's nclx.

Results are sRGB as a colour-managed viewer shows it. Light beyond the white of sRGB (PQ, HLG) is brought into its range
by the curve of ITU-R BT.2390, from the brightest value in the picture to 203 cd/m2, the white of sRGB there (BT.2408):
up to a knee (92 cd/m2 where the brightest value has 1000) nothing changes, and nothing at all in a picture without
highlights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.pixels.strips import strips

Floats = NDArray[np.floating[Any]]
Converter = Callable[[NDArray[np.unsignedinteger]], NDArray[np.uint8]]
Curve = Callable[[Floats], Floats]  # code values in [0, 1] -> light, 1 is the white of sRGB

SDR_WHITE = 203.0  # cd/m2, BT.2408
_HLG_PEAK = 1000.0  # cd/m2, the nominal display of BT.2100
_HLG_SYSTEM_GAMMA = 1.2
_PLAIN_GAMMA = (43_182, 47_727)  # gAMA within 5 % of 1/2.2 and alone says no more than "sRGB": libpng's own threshold
_GAMMA_RANGE = (1_000, 1_000_000)  # of gAMA; others are mistakes

Chromaticities = tuple[float, float, float, float, float, float, float, float]  # x, y of white, red, green, blue
_D65 = (0.3127, 0.3290)
_C = (0.310, 0.316)
_SRGB: Chromaticities = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_SMPTE: Chromaticities = (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070)
PRIMARIES: dict[int, Chromaticities] = {  # by their numbers in ITU-T H.273
    1: _SRGB,
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: _SMPTE,
    7: _SMPTE,
    8: (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
_VIDEO_TRANSFERS = (1, 6, 14, 15)
_PQ, _HLG = 16, 18


@dataclass(frozen=True, slots=True)
class Space:
    """RGB values of some kind, and their way to sRGB.

    Attributes:
        curve: code values in [0, 1] to light; 1 is the white of sRGB. For HLG, the light of the scene.
        matrix: (3, 3), linear RGB of this kind to linear sRGB.
        hdr: whether there may be light beyond white.
        luminance: for HLG, the share of red, green and blue in the luminance; else None.
    """

    curve: Curve
    matrix: Floats
    hdr: bool = False
    luminance: Floats | None = field(default=None)

    def to_srgb(self, picture: NDArray[np.unsignedinteger]) -> Converter:
        """The function from values like these to sRGB, (..., 3) uint8.

        Args:
            picture: (H, W, 3), uint8 or uint16; only its type counts where there is no light beyond white.
        """
        light = self.curve(np.linspace(0, 1, np.iinfo(picture.dtype).max + 1)).astype(np.float32)
        matrix = self.matrix.T.astype(np.float32)
        peak = 1.0
        if self.hdr:
            peak = max(float(self._linear(picture[rows], light).max()) for rows in strips(*picture.shape[:2]))
        roll_off = _roll_off(peak) if peak > 1 else None

        def convert(values: NDArray[np.unsignedinteger]) -> NDArray[np.uint8]:
            linear = self._linear(values, light)
            if roll_off is not None:
                linear *= roll_off(linear.max(axis=-1))[..., None]
            linear = linear @ matrix
            steps = (np.clip(linear, 0, 1) * np.float32(65535) + np.float32(0.5)).astype(np.uint16)
            encoded: NDArray[np.uint8] = _encoder()[steps]
            return encoded

        return convert

    def _linear(self, values: NDArray[np.unsignedinteger], light: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values -> light on a display; `light` is the curve at every value."""
        linear: NDArray[np.float32] = light[values]
        if self.luminance is not None:
            luminance = linear @ self.luminance.astype(np.float32)
            scale = np.float32(_HLG_PEAK / SDR_WHITE)
            linear *= (luminance ** np.float32(_HLG_SYSTEM_GAMMA - 1) * scale)[..., None]
        return linear

    def convert(self, values: NDArray[np.unsignedinteger]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 or uint16 -> sRGB, uint8, in strips."""
        to_bytes = self.to_srgb(values)
        out = np.empty(values.shape, np.uint8)
        for rows in strips(*values.shape[:2]):
            out[rows] = to_bytes(values[rows])
        return out


def from_gamma(gamma: int, chromaticities: Chromaticities | None) -> Space | None:
    """PNG's gAMA (times 100,000) and cHRM; None where they say no more than "sRGB" or nothing that can be meant."""
    alone = chromaticities is None
    if not _GAMMA_RANGE[0] <= gamma <= _GAMMA_RANGE[1] or (alone and _PLAIN_GAMMA[0] <= gamma <= _PLAIN_GAMMA[1]):
        return None
    matrix = np.eye(3) if chromaticities is None else _to_linear_srgb(chromaticities)
    return None if matrix is None else Space(_power(100_000 / gamma), matrix)


def from_cicp(primaries: int, transfer: int, *, video: bool = False) -> Space | None:
    """Numbers of ITU-T H.273; None for sRGB, for "unspecified", and for numbers that are not known.

    Args:
        video: whether the transfers of television (1, 6, 14, 15) mean sRGB, as in AVIF and HEIC, where encoders write
            them for any picture; in PNG they mean the display of BT.1886.
    """
    if primaries not in PRIMARIES:
        return None
    if transfer in _VIDEO_TRANSFERS:
        transfer = 13 if video else transfer
    curve = _CURVES.get(transfer)
    if curve is None or (primaries, transfer) == (1, 13):
        return None
    matrix = _to_linear_srgb(PRIMARIES[primaries])
    assert matrix is not None
    luminance = _to_xyz(PRIMARIES[primaries])[1] if transfer == _HLG else None
    return Space(curve, matrix, hdr=transfer in (_PQ, _HLG), luminance=luminance)


def _power(exponent: float) -> Curve:
    return lambda values: values**exponent


def _srgb(values: Floats) -> Floats:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _pq_nits(values: Floats) -> Floats:
    """SMPTE ST 2084: code values to cd/m2."""
    root = values ** (1 / 78.84375)
    matrix: Floats = 10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    return matrix


def _pq_code(nits: Floats | float) -> Floats:
    power = (np.asarray(nits, np.float64) / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def _pq(values: Floats) -> Floats:
    return _pq_nits(values) / SDR_WHITE


def _hlg(values: Floats) -> Floats:
    """BT.2100: code values to the light of the scene, in [0, 1]."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)


_CURVES: dict[int, Curve] = {
    **dict.fromkeys(_VIDEO_TRANSFERS, _power(2.4)),
    4: _power(2.2),
    5: _power(2.8),
    8: lambda values: values,
    13: _srgb,
    _PQ: _pq,
    _HLG: _hlg,
}


def _to_xyz(chromaticities: Chromaticities) -> Floats:
    """Linear RGB -> XYZ, (3, 3), of which white has Y = 1; raises if the primaries lie on one line."""
    white, *corners = np.array(chromaticities, np.float64).reshape(4, 2)
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in corners]).T
    x, y = white
    matrix: Floats = columns * np.linalg.solve(columns, np.array([x / y, 1, (1 - x - y) / y]))
    return matrix


_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def _to_linear_srgb(chromaticities: Chromaticities) -> Floats | None:
    """Linear RGB -> linear sRGB with white brought to white (Bradford); None where the numbers describe no colours."""
    if not all(0 < value < 1 for value in chromaticities):
        return None
    try:
        source, target = _to_xyz(chromaticities), _to_xyz(_SRGB)
    except np.linalg.LinAlgError:
        return None
    cones = (_BRADFORD @ target.sum(axis=1)) / (_BRADFORD @ source.sum(axis=1))
    adapted = np.linalg.solve(_BRADFORD, cones[:, None] * _BRADFORD) @ source
    matrix: Floats = np.linalg.solve(target, adapted)
    return matrix if np.isfinite(matrix).all() else None


def _roll_off(peak: float) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """BT.2390's curve from `peak` (over 1) to 1: the function from a pixel's greatest value to the factor for it."""
    top = float(_pq_code(peak * SDR_WHITE))
    most = float(_pq_code(SDR_WHITE)) / top
    knee = 1.5 * most - 0.5
    light: Floats = peak * np.linspace(0, 1, 4096) ** 3  # dense where it is dark
    code = _pq_code(light * SDR_WHITE) / top
    t = np.clip((code - knee) / (1 - knee), 0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    rolled = _pq_nits(np.where(code < knee, code, spline) * top) / SDR_WHITE
    factor = np.divide(rolled, light, out=np.ones_like(light), where=light > 0)

    def apply(greatest: NDArray[np.float32]) -> NDArray[np.float32]:
        factors: NDArray[np.float32] = np.interp(greatest, light, factor).astype(np.float32)
        return factors

    return apply


@cache
def _encoder() -> NDArray[np.uint8]:
    """Linear light in 0..65535 -> 8-bit sRGB."""
    light = np.linspace(0, 1, 65_536)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return (encoded * 255 + 0.5).astype(np.uint8)
