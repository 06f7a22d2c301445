"""Tables and figure of field.py."""
import math
import os

import numpy as np

import systems

COLOURS = {"cafx": ["#b3202a", "#d1495b", "#e07a5f", "#f2a65a", "#8c2f39", "#c9184a", "#ff758f"],
           "nam": ["#1d3557", "#30638e", "#457b9d", "#5b8fb9", "#7fb2d0", "#a8c9de"],
           "nablafx": ["#2d6a4f", "#52906f", "#74b08f", "#a3c9a8"]}
DASHES = ["", "6,2", "2,2", "8,2,2,2", "12,3", "1,3", "4,4"]
# Samples by which a system is late, at its rate: frames wait until they are whole, temporal FiLM until its block is.
LATE = {"cafx-default": (1023, 16000), "cafx-full": (2815, 44100), "cafx-s4-tf-l": (127, 44100), "nablafx-s4-tf-l": (127, 44100)}


def quality(point):
    """Mean ESR and MR-STFT of notes and phrases, each half."""
    q = point["quality"]
    return [(q["notes"][k] + q["phrases"][k]) / 2 for k in ("esr", "mr_stft")]


def until(points, goal):
    return next((p["spent"] for p in points if quality(p)[0] <= goal), None)


def text(value, form="%.3g"):
    return "-" if value is None else form % value


def rows(found):
    for r in found:
        points = r["points"]
        last = points[-1] if points else None
        played = [p["played"] for p in points]
        yield {"device": r["device"], "system": r["system"], "updates": last["steps"] if last else 0,
               "esr_notes": last["quality"]["notes"]["esr"] if last else None,
               "esr_phrases": last["quality"]["phrases"]["esr"] if last else None,
               "mr_stft": quality(last)[1] if last else None,
               "to_.1": until(points, 0.1), "to_.01": until(points, 0.01),
               "cpu": last["cpu"] if last else None, "wall": last["wall"] if last else None,
               "stream_percent": 100 * r["stream"]["cpu"] / r["stream"]["audio"] if "stream" in r else None,
               "file_percent": 100 * min(p["cpu"] / p["audio"] for p in played) if played else None}


def tables(table):
    out = ["| device | system | updates | ESR, notes | ESR, phrases | MR-STFT | s to ESR .1 | s to ESR .01 |", "|" + " --- |" * 8]
    best = {}
    for r in table:
        if r["esr_phrases"] is not None:
            mean = (r["esr_notes"] + r["esr_phrases"]) / 2
            best[r["device"]] = min(best.get(r["device"], (math.inf, "")), (mean, r["system"]))
    for r in table:
        name = "**%s**" % r["system"] if best.get(r["device"], (0, ""))[1] == r["system"] else r["system"]
        reached = [text(r[k], "%.0f") if r[k] is not None else "no" for k in ("to_.1", "to_.01")]
        cells = [r["device"], name, "%d" % r["updates"], text(r["esr_notes"]), text(r["esr_phrases"]), text(r["mr_stft"])] + reached
        out.append("| %s |" % " | ".join(cells))
    out += ["", "| system | % of a core, blocks of 64 | % of a core, whole file | latency, ms |", "|" + " --- |" * 4]
    for system in systems.SYSTEMS:
        mine = [r for r in table if r["system"] == system and r["file_percent"] is not None]
        if mine:
            median = lambda key: np.median([r[key] for r in mine]) if all(r[key] is not None for r in mine) else None
            late = LATE.get(system, (0, 1))
            out.append("| %s | %s | %s | %.1f |" % (system, text(median("stream_percent"), "%.1f"), text(median("file_percent"), "%.1f"),
                                                    1000 * late[0] / late[1]))
    return "\n".join(out) + "\n"


def curve(r, budget):
    return [(p["spent"] / 60, quality(p)[0]) for p in r["points"] if 0 < quality(p)[0] < 1e3 and p["spent"] <= 1.5 * budget]


def place(system):
    """Family of a system and its number in it."""
    family = systems.SYSTEMS[system][0]
    return family, [n for n in systems.SYSTEMS if systems.SYSTEMS[n][0] == family].index(system)


def colour(system):
    family, i = place(system)
    return COLOURS[family][i]


def figure(found, args):
    """Error against minutes, both on logarithmic scales, a panel a device."""
    devices = [d for d in args.devices if any(r["device"] == d and r["points"] for r in found)]
    names = [s for s in systems.SYSTEMS if any(r["system"] == s for r in found)]
    width, height, columns = 310, 230, 3
    lo_x, hi_x, lo_y, hi_y = math.log10(args.budget / 60 / 20), math.log10(args.budget / 60 * 1.1), -3.0, 0.3
    base = 18 + height * math.ceil(len(devices) / columns)  # where the legend begins
    across = max(1, int(width * min(columns, max(1, len(devices))) / 155))
    total = (width * min(columns, max(1, len(devices))) + 10, base + 16 * math.ceil(len(names) / across))
    svg = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">' % total,
           '<rect width="100%" height="100%" fill="#fff"/>']
    looks = {}
    for s in names:
        dashes = DASHES[place(s)[1]]
        looks[s] = 'fill="none" stroke="%s" stroke-width="1.6"%s' % (colour(s), ' stroke-dasharray="%s"' % dashes if dashes else "")
    for i, device in enumerate(devices):
        left, top = 45 + width * (i % columns), 18 + height * (i // columns)
        w, h = width - 55, height - 50
        x = lambda v: left + w * (min(max(math.log10(v), lo_x), hi_x) - lo_x) / (hi_x - lo_x)
        y = lambda v: top + h * (hi_y - min(max(math.log10(v), lo_y), hi_y)) / (hi_y - lo_y)
        svg.append('<text x="%d" y="%d" font-weight="bold">%s</text>' % (left, top - 5, device))
        for tick in (1, 0.1, 0.01, 0.001):
            svg.append('<path d="M%d %.0fh%d" stroke="#ddd"/>' % (left, y(tick), w))
            svg.append('<text x="%d" y="%.0f" text-anchor="end">%g</text>' % (left - 4, y(tick) + 4, tick))
        for tick in [m * 10 ** e for e in range(-3, 3) for m in (1, 2, 5)]:
            if lo_x <= math.log10(tick) <= hi_x:
                svg.append('<path d="M%.0f %dv%d" stroke="#ddd"/>' % (x(tick), top, h))
                svg.append('<text x="%.0f" y="%d" text-anchor="middle">%g</text>' % (x(tick), top + h + 13, tick))
        svg.append('<text x="%d" y="%d" text-anchor="middle">minutes of training; up: ESR</text>' % (left + w / 2, top + h + 26))
        for r in found:
            points = curve(r, args.budget)
            if r["device"] == device and points:
                svg.append('<path d="M%s" %s/>' % ("L".join("%.0f %.0f" % (x(a), y(b)) for a, b in points), looks[r["system"]]))
                svg.append('<circle cx="%.0f" cy="%.0f" r="2" fill="%s"/>' % (x(points[-1][0]), y(points[-1][1]), colour(r["system"])))
    for i, s in enumerate(names):
        left, top = 10 + 155 * (i % across), base + 16 * (i // across)
        svg.append('<path d="M%d %dh26" %s/><text x="%d" y="%d">%s</text>' % (left, top - 4, looks[s], left + 32, top, s))
    return "\n".join(svg + ["</svg>\n"])


def write(args, found):
    table = list(rows(found))
    print(tables(table))
    keys = list(table[0]) if table else []
    with open(os.path.join(args.out, "field.tsv"), "w") as file:
        file.write("\t".join(keys) + "\n")
        for r in table:
            file.write("\t".join(text(r[k], "%s" if isinstance(r[k], str) else "%.5g") for k in keys) + "\n")
    with open(os.path.join(args.out, "error.svg"), "w") as file:
        file.write(figure(found, args))
