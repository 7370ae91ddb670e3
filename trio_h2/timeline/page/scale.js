// The part of time that is shown, which bars, axis and curves share; and how times and octets are written.

const GUTTER = 190; // pixels, left of the picture: names of streams, and octets
const MARGIN = 58; // pixels, right of it: codes at the ends of bars, and round trips
const LEAST_SPAN = 20; // microseconds

const view = { from: 0, to: END };
const watchers = [];

function show(from, to) {
    let span = Math.min(Math.max(to - from, LEAST_SPAN), END * 1.04);
    if (!Number.isFinite(span)) span = END;
    const begin = Math.min(Math.max(from, -END * 0.02), END * 1.02 - span);
    view.from = begin;
    view.to = begin + span;
    for (const watcher of watchers) watcher();
}

const showAll = () => show(-END * 0.01, END * 1.01);
const zoom = (factor, around = (view.from + view.to) / 2) =>
    show(around - (around - view.from) * factor, around + (view.to - around) * factor);
const move = (part) => {
    const step = (view.to - view.from) * part;
    show(view.from + step, view.to + step);
};

const plotWidth = (width) => Math.max(width - GUTTER - MARGIN, 10);
const xOf = (time, width) => GUTTER + ((time - view.from) / (view.to - view.from)) * plotWidth(width);
const timeAt = (x, width) => view.from + ((x - GUTTER) / plotWidth(width)) * (view.to - view.from);

function seconds(micros) {
    const size = Math.abs(micros);
    if (size === 0) return "0 s";
    if (size >= 1e6) return `${(micros / 1e6).toFixed(size >= 1e7 ? 1 : 2)} s`;
    if (size >= 1e3) return `${(micros / 1e3).toFixed(size >= 1e5 ? 0 : size >= 1e4 ? 1 : 2)} ms`;
    return `${Math.round(micros)} µs`;
}

// Times of an axis, as precise as the steps between its marks.
function clockTime(micros, step) {
    if (step >= 1e6) return `${Math.round(micros / 1e6)} s`;
    if (END >= 1e6 && step >= 1e3) return `${(micros / 1e6).toFixed(step >= 1e5 ? 1 : step >= 1e4 ? 2 : 3)} s`;
    if (step >= 1) return `${(micros / 1e3).toFixed(step >= 1e3 ? 0 : step >= 100 ? 1 : step >= 10 ? 2 : 3)} ms`;
    return `${micros} µs`;
}

function niceStep(span, marks) {
    const rough = span / Math.max(marks, 1);
    const power = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].map((part) => part * power).find((step) => step >= rough);
}

function octets(count) {
    const size = Math.abs(count);
    if (size >= 1 << 30) return `${(count / (1 << 30)).toFixed(2)} GiB`;
    if (size >= 1 << 20) return `${(count / (1 << 20)).toFixed(size >= 100 << 20 ? 0 : 1)} MiB`;
    if (size >= 1 << 10) return `${(count / (1 << 10)).toFixed(size >= 100 << 10 ? 0 : 1)} KiB`;
    return `${count} B`;
}

let palette = {};

function readPalette() {
    const style = getComputedStyle(document.documentElement);
    const names = ["card", "ink", "soft", "line", "row", "hover", "chosen", "accent", "active", "tick", "send",
        "receive", "rtt", ...STATES.map(([reason]) => cssName(reason))];
    palette = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

// A canvas as sharp as the screen: its context, in pixels of the page.
function sharp(canvas, width, height) {
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w || canvas.height !== h) {
        canvas.width = w;
        canvas.height = h;
        canvas.style.width = `${width}px`;
        canvas.style.height = `${height}px`;
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = FONT;
    context.textBaseline = "middle";
    return context;
}

const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
