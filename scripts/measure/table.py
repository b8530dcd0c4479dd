"""The figures of a run: medians over its rounds, beside what they should be, as text, Markdown and a chart."""

import datetime
import os
import platform
import statistics
import sys


class Figure:
    def __init__(self, what, goal, is_most, show):
        self.what, self.goal, self.is_most, self.show = what, goal, is_most, show
        self.values, self.notes = [], []
        self.calls, self.peak = {}, None

    @property
    def value(self):
        return statistics.median(self.values)

    @property
    def is_met(self):
        return self.goal is None or (self.value <= self.goal if self.is_most else self.value >= self.goal)

    @property
    def score(self):
        """1 where the goal is just met, more where it is better."""
        return self.goal / self.value if self.is_most else self.value / self.goal

    def row(self):
        goal = "" if self.goal is None else ("<= " if self.is_most else ">= ") + self.show(self.goal)
        calls = ", ".join(f"{count} {call}" for call, count in self.calls.items()) or "none"
        beside = [calls, f"{self.peak:.0f} MB"] if self.peak else ["", ""]
        return [self.what, self.show(self.value), goal, "" if self.is_met else "MISSED", *beside, self.note()]

    def note(self):
        return self.notes[len(self.notes) // 2] if self.notes else ""


class Table:
    def __init__(self, rounds):
        self.count, self.figures = rounds, {}

    def rounds(self):
        for turn in range(self.count):
            print(f"bench: round {turn + 1} of {self.count}", file=sys.stderr, flush=True)
            yield turn

    def _add(self, what, value, goal, note, is_most, show):
        figure = self.figures.setdefault(what, Figure(what, goal, is_most, show))
        figure.values.append(value)
        if note:
            figure.notes.append(note)

    def ratio(self, what, value, goal, note=""):
        """As fast as what it is compared with: 1."""
        self._add(what, value, goal, note, False, lambda n: f"{n:.2f}")

    def rate(self, what, value, goal, note=""):
        self._add(what, value, goal, note, False, lambda n: f"{n:,.0f}/s")

    def times(self, what, value, goal, note=""):
        """So many times as long as what it is compared with."""
        self._add(what, value, goal, note, True, lambda n: f"{n:.2f} x")

    def most(self, what, value, goal, unit, note=""):
        self._add(what, value, goal, note, True, lambda n: f"{n:.0f} {unit}")

    def beside(self, what, emulator, mount):
        """The requests and the memory that it took."""
        figure = self.figures[what]
        figure.calls, figure.peak = emulator.calls(), max(figure.peak or 0, mount.peak())

    HEAD = ["what", "measured", "goal", "", "requests", "peak RSS", "compared with"]

    def rows(self):
        return [figure.row() for figure in self.figures.values()]

    def text(self):
        rows = [self.HEAD, *self.rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(self.HEAD))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)

    def markdown(self):
        lines = [f"| {' | '.join(row)} |" for row in [self.HEAD, ["---"] * len(self.HEAD), *self.rows()]]
        return f"{machine()}, medians of {self.count} rounds.\n\n" + "\n".join(lines) + "\n"

    def chart(self):
        """How far each figure is from its goal: a bar that reaches the line meets it."""
        figures = [figure for figure in self.figures.values() if figure.goal is not None]
        line, left, step = 160, 380, 22
        parts = []
        for number, figure in enumerate(figures):
            top = 20 + number * step
            width = min(figure.score, 3) * line
            colour = "#4c8f5d" if figure.is_met else "#c0504d"
            parts.append(f'<text x="{left - 8}" y="{top + 12}" text-anchor="end">{escaped(figure.what)}</text>')
            parts.append(f'<rect x="{left}" y="{top}" width="{width:.0f}" height="15" fill="{colour}"/>')
            parts.append(f'<text x="{left + width + 6:.0f}" y="{top + 12}">{escaped(figure.show(figure.value))}</text>')
        height = 30 + len(figures) * step
        parts.append(f'<line x1="{left + line}" y1="10" x2="{left + line}" y2="{height - 6}" stroke="#333"/>')
        style = 'font-family="sans-serif" font-size="12"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + 3 * line + 90}" height="{height}" {style}>'
        return head + '<rect width="100%" height="100%" fill="white"/>' + "".join(parts) + "</svg>\n"


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    date = datetime.date.today().isoformat()
    return f"{date}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}"
