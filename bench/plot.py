"""A log-log plot as SVG text."""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 440, 70, 230, 40, 50
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#17becf")


def _ticks(low, high):
    ticks = [m * 10.0 ** e for e in range(-3, 7) for m in (1, 2, 5)]
    return [t for t in ticks if low <= t * 1.0001 and t <= high * 1.0001]


def plot(title, x_label, y_label, series):
    """series: (name, [(x, y)], "line" | "points"); a "line" has the colour of the points after it."""
    points = [p for _, line, _ in series for p in line if p[0] > 0 and p[1] > 0]
    if not points:
        return ""
    x0, x1 = min(p[0] for p in points) / 1.2, max(p[0] for p in points) * 1.2
    y0, y1 = min(p[1] for p in points) / 1.5, max(p[1] for p in points) * 1.5

    def at(x, y):
        u = math.log(x / x0) / math.log(x1 / x0)
        v = math.log(y / y0) / math.log(y1 / y0)
        return LEFT + u * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - v * (HEIGHT - TOP - BOTTOM)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
           f'font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
           f'<text x="{LEFT}" y="{HEIGHT - 10}">{escape(x_label)}</text>',
           f'<text x="{LEFT}" y="35" fill="#555">{escape(y_label)}</text>']
    for x in _ticks(x0, x1):
        u = at(x, y0)[0]
        out.append(f'<line x1="{u:.1f}" x2="{u:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>'
                   f'<text x="{u:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>')
    for y in _ticks(y0, y1):
        v = at(x0, y)[1]
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{v:.1f}" y2="{v:.1f}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 6}" y="{v + 4:.1f}" text-anchor="end">{y:g}</text>')
    for i, (name, line, kind) in enumerate(series):
        colour = COLOURS[i // 2 % len(COLOURS)]
        places = [at(x, y) for x, y in sorted(line)]
        if kind == "line":
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-dasharray="5 3"/>')
        else:
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in places]
        sign = "- -" if kind == "line" else "●"
        out.append(f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 14 + 18 * i}" fill="{colour}">{sign} '
                   f'{escape(name)}</text>')
    return "\n".join(out + ["</svg>\n"])
