"""Signal processing of FMCW radars, built on the fft operator: spectra, azimuth maps and points from samples."""

from portbev.signal.calibration import Calibration, read_calibration
from portbev.signal.chain import PRODUCTS, RadarChain
from portbev.signal.description import RadarDescription
from portbev.signal.features import magnitude_phase, real_imaginary

__all__ = [
    "PRODUCTS",
    "Calibration",
    "RadarChain",
    "RadarDescription",
    "magnitude_phase",
    "read_calibration",
    "real_imaginary",
]
