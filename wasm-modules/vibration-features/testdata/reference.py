"""Writes reference.json: waveforms, and what numpy and scipy make of them.

    python3 -m venv venv && venv/bin/pip install numpy==2.2.6 scipy==1.15.3
    venv/bin/python reference.py > reference.json
"""

import base64
import json

import numpy as np
import scipy
from scipy import signal, stats

rng = np.random.default_rng(5)


def bearing(n, rate, shaft, order, resonance):
    """A fault's impacts, each ringing at the resonance, on the shaft's own turning and noise."""
    t = np.arange(n) / rate
    x = 0.3 * np.sin(2 * np.pi * shaft * t) + 0.2 * rng.standard_normal(n)
    for k in range(int(n / rate * order * shaft) + 1):
        since = t - k / (order * shaft)
        x += np.where(since >= 0, 2 * np.exp(-800 * since) * np.sin(2 * np.pi * resonance * since), 0)
    return x


def orders(b):
    if "balls" not in b:
        return b
    r = b["ball"] / b["pitch"] * np.cos(np.radians(b.get("angle", 0)))
    return {
        "bpfo": b["balls"] / 2 * (1 - r),
        "bpfi": b["balls"] / 2 * (1 + r),
        "bsf": b["pitch"] / (2 * b["ball"]) * (1 - r * r),
        "ftf": (1 - r) / 2,
    }


def features(x, c):
    n, rate = len(x), c["rate"]
    root = np.sqrt(np.mean(x * x))
    want = {
        "mean": np.mean(x),
        "rms": root,
        "peak": np.max(np.abs(x)),
        "crest": np.max(np.abs(x)) / root,
        "skewness": stats.skew(x),
        "kurtosis": stats.kurtosis(x, fisher=False),
    }
    f, density = signal.periodogram(x, rate, window=c["window"], detrend="constant", scaling="density")
    for name, (low, high) in c["bands"].items():
        want["energy_" + name] = np.sum(density[(f >= low) & (f < high)]) * rate / n
    low, high = c.get("envelope_band", [0, np.inf])
    spectrum = np.fft.rfft(x - np.mean(x))
    spectrum[(f < low) | (f >= high)] = 0
    envelope = np.abs(signal.hilbert(np.fft.irfft(spectrum, n)))
    f, power = signal.periodogram(envelope, rate, window=c["window"], detrend="constant", scaling="spectrum")
    amplitude = np.sqrt(2 * power)
    turn = c["speed"] / 60
    for name, order in orders(c["bearing"]).items():
        for h in range(1, c["harmonics"] + 1):
            around = h * order * turn
            near = np.flatnonzero((f >= around * (1 - c["tolerance"])) & (f <= around * (1 + c["tolerance"])))
            if len(near) == 0:
                near = [int(np.round(around * n / rate))]
            top = near[np.argmax(amplitude[near])]
            if h == 1:
                want[name], want[name + "_hz"] = amplitude[top], f[top]
            else:
                want[f"{name}_{h}"] = amplitude[top]
    return want


cases = []


def case(title, x, kind, scale=1.0, **config):
    names = {"<f4": ("f32", "little"), ">f4": ("f32", "big"), "<f8": ("f64", "little"), ">f8": ("f64", "big"), "<i2": ("i16", "little"), ">i2": ("i16", "big")}
    payload = (np.round(x / scale) if "i2" in kind else x / scale).astype(kind)
    config = {"window": "hann", "tolerance": 0.02, "harmonics": 1, "scale": scale, **config}
    config["format"], config["order"] = names[kind]
    want = features(payload.astype(float) * scale, config)
    cases.append({
        "name": title,
        "config": config,
        "payload": base64.b64encode(payload.tobytes()).decode(),
        "want": {k: float(v) for k, v in want.items()},
    })


cwru = {"balls": 9, "ball": 0.3126, "pitch": 1.537}
case("a power of two, hann", bearing(2048, 12000, 29.95, 3.5848, 3000), "<i2", 0.001, rate=12000, speed=1797, bearing=cwru, harmonics=3,
     bands={"a": [10, 500.5], "b": [500.5, 4000.5], "all": [0, 6001]}, envelope_band=[2000.5, 4000.5])
case("the same, boxcar, of all frequencies, big-endian", bearing(1024, 12000, 29.95, 5.4152, 3000), ">i2", 0.001, rate=12000, speed=1797, bearing=cwru,
     window="boxcar", bands={"a": [0, 3000.5]})
case("no power of two", bearing(1000, 10000, 25, 3.1, 2000), "<f4", rate=10000, speed=1500, bearing={"bpfo": 3.1, "ftf": 0.39},
     tolerance=0.05, harmonics=2, bands={"dc": [0, 5], "high": [4000.5, 9000]})
case("odd, double", 5 + bearing(777, 8192, 20, 4, 1500), "<f8", rate=8192, speed=1200, bearing={"bsf": 2.357}, bands={"x": [100.25, 1000.75]},
     envelope_band=[1000.25, 2000.75])
case("big-endian double", bearing(256, 8192, 20, 4, 1500), ">f8", rate=8192, speed=9600, bearing={"bpfi": 4.0}, bands={"x": [0, 100.5]})
case("big-endian float, a large constant part", 1000 + bearing(512, 8192, 20, 4, 1500), ">f4", 2.0, rate=8192, speed=9600,
     bearing={"balls": 8, "ball": 10, "pitch": 40, "angle": 15}, bands={"x": [0, 100.5]})

print("{")
print(f' "made_by": "numpy {np.__version__}, scipy {scipy.__version__}",')
print(' "cases": [\n  ' + ",\n  ".join(json.dumps(c) for c in cases) + "\n ]\n}")
