"""Writes reference.json: readings of three generators, and what pandas makes of them a minute.

    python3 -m venv venv && venv/bin/pip install pandas==2.2.3 numpy==2.2.6
    venv/bin/python reference.py > reference.json
"""

import json
import random

import pandas as pd

random.seed(7)
START = 1_700_000_000_000_000  # microseconds; in the middle of a minute

rows = []
for key in ["g-1", "g-2", "g-3"]:
    fuel = random.uniform(40, 60)
    at = START + random.randrange(30_000_000)
    for i in range(200):
        at += random.randrange(500_000, 9_000_000)
        fuel -= random.uniform(0, 0.4)
        row = {"time": at, "key": key}
        if random.random() > 0.2:
            row["fuel"] = round(fuel, 3)
        if random.random() > 0.5:
            row["rpm"] = random.choice([0, 1499, 1500, 1501])
        if random.random() > 0.7:
            row["state"] = random.choice(["run", "stop", "fault"])
        rows.append(row)
# They arrive up to 8 seconds out of order.
rows.sort(key=lambda r: r["time"] + random.randrange(8_000_000))

frame = pd.DataFrame(rows)
frame.index = pd.to_datetime(frame.pop("time"), unit="us")
frame = frame.sort_index(kind="stable")
windows = []
for (key, start), part in frame.groupby(["key", pd.Grouper(freq="1min")]):
    window = {"key": key, "start": int(start.value // 1000)}
    window["state"] = None if part["state"].dropna().empty else part["state"].dropna().iloc[-1]
    for field in ["fuel", "rpm"]:
        stats = part[field].agg(["min", "max", "mean", "count"])
        some = part[field].dropna()
        window[field] = None if some.empty else float(some.iloc[-1])
        for name in ["min", "max", "mean"]:
            window[f"{field}_{name}"] = None if some.empty else float(stats[name])
        window[f"{field}_count"] = int(stats["count"])
    if window["state"] is None and window["fuel_count"] == 0 and window["rpm_count"] == 0:
        continue
    windows.append(window)

print("{")
print(f' "made_by": "pandas {pd.__version__}",')
print(' "rows": [\n  ' + ",\n  ".join(json.dumps(r) for r in rows) + "\n ],")
print(' "windows": [\n  ' + ",\n  ".join(json.dumps(w) for w in windows) + "\n ]\n}")
