"""A log-log plot as SVG text."""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 440, 70, 230, 40, 50
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#17becf")


def _ticks(low, high):
    ticks = [m * 10.0 ** e for e in range(-3, 7) for m in (1, 2, 5)]
    return [t for t in ticks if low <= t * 1.0001 and t <= high * 1.0001]


def plot(title, x_label, y_label, series):
    """series: (name, [(x, y)], bound); the points are joined, the bound, [(x, y)] too, is dashed. Ticks of x: the xs."""
    points = [p for _, line, bound in series for p in line + bound if p[0] > 0 and p[1] > 0]
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
    for x in sorted({p[0] for _, line, _ in series for p in line}):
        u = at(x, y0)[0]
        out.append(f'<line x1="{u:.1f}" x2="{u:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>'
                   f'<text x="{u:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>')
    for y in _ticks(y0, y1):
        v = at(x0, y)[1]
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{v:.1f}" y2="{v:.1f}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 6}" y="{v + 4:.1f}" text-anchor="end">{y:g}</text>')
    legend = WIDTH - RIGHT + 14
    for i, (name, line, bound) in enumerate(series):
        colour = COLOURS[i % len(COLOURS)]
        for part, style in ((bound, "stroke-dasharray='5 3' opacity='0.75'"), (line, "stroke-width='1.5'")):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*p) for p in sorted(part)))
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" {style}/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in (at(*p) for p in line)]
        y = TOP + 14 + 20 * i
        out.append(f'<circle cx="{legend}" cy="{y - 4}" r="3.5" fill="{colour}"/>'
                   f'<text x="{legend + 12}" y="{y}">{escape(name)}</text>')
    y = TOP + 14 + 20 * len(series)
    out.append(f'<line x1="{legend - 8}" x2="{legend + 8}" y1="{y - 4}" y2="{y - 4}" stroke="#555" '
               f'stroke-dasharray="5 3"/><text x="{legend + 12}" y="{y}" fill="#555">roofline</text>')
    return "\n".join(out + ["</svg>\n"])
