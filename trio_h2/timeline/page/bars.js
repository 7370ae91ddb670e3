// The bars: a row for each connection and each of its streams, drawn where they are seen and nowhere else.

const overview = document.getElementById("overview");
const axis = document.getElementById("axis");
const scroller = document.getElementById("scroller");
const spacer = document.getElementById("spacer");
const bars = document.getElementById("bars");

const LABEL_HEIGHT = 11; // pixels of a row from which on it has a name
const TICK_HEIGHT = 8; // and from which on its frames are seen
const HEIGHTS = [3, 4, 5, 6, 8, 11, 14, 18, 22, 28];

let rows = []; // streams, and connections as -1 and below
let rowHeight = 18;
let chosen = null;
let hovered = null;

// As tall as all of them may be to be seen at once.
const heightFor = (count) => HEIGHTS.findLast((height) => height <= 18 && count * height <= room()) ?? 3;
const room = () => Math.max(window.innerHeight * 0.58, 160);

function setRows(next, { keepHeight = false } = {}) {
    rows = next;
    if (!keepHeight) rowHeight = heightFor(rows.length);
    layOut();
}

function changeHeight(step) {
    const place = HEIGHTS.findIndex((height) => height >= rowHeight);
    const middle = (scroller.scrollTop + scroller.clientHeight / 2) / rowHeight;
    rowHeight = HEIGHTS[Math.min(Math.max(place + step, 0), HEIGHTS.length - 1)];
    layOut();
    scroller.scrollTop = middle * rowHeight - scroller.clientHeight / 2;
}

function layOut() {
    scroller.style.height = `${Math.min(Math.max(rows.length * rowHeight + 6, 40), room() + 6)}px`;
    spacer.style.height = `${rows.length * rowHeight + 2}px`;
    draw();
}

const width = () => scroller.clientWidth;

function draw() {
    drawOverview();
    drawAxis();
    drawBars();
}

function drawBars() {
    const [w, h] = [width(), scroller.clientHeight];
    const context = sharp(bars, w, h);
    const top = scroller.scrollTop;
    const first = Math.max(Math.floor(top / rowHeight), 0);
    const last = Math.min(Math.ceil((top + h) / rowHeight), rows.length);
    for (let place = first; place < last; place += 1) {
        const owner = rows[place];
        const y = place * rowHeight - top;
        if (owner === chosen || owner === hovered) {
            context.fillStyle = owner === chosen ? palette.chosen : palette.hover;
            context.fillRect(0, y, w, rowHeight);
        } else if (rowHeight >= LABEL_HEIGHT && place % 2) {
            context.fillStyle = palette.row;
            context.fillRect(0, y, w, rowHeight);
        }
    }
    drawGrid(context, w, h);
    context.save();
    context.beginPath();
    context.rect(GUTTER - 3, 0, w - GUTTER + 3, h);
    context.clip();
    for (let place = first; place < last; place += 1) drawRow(context, rows[place], place * rowHeight - top, w);
    context.restore();
    if (rowHeight >= LABEL_HEIGHT) {
        for (let place = first; place < last; place += 1) drawName(context, rows[place], place * rowHeight - top);
    } else {
        drawConnectionNames(context, first, last, top);
    }
}

function drawGrid(context, w, h) {
    context.fillStyle = palette.line;
    for (const { x } of axisMarks(w)) context.fillRect(Math.round(x), 0, 1, h);
}

function axisMarks(w) {
    const step = niceStep(view.to - view.from, plotWidth(w) / 90);
    const marks = [];
    for (let time = Math.ceil(Math.max(view.from, 0) / step) * step; time <= Math.min(view.to, END * 1.001); time += step) {
        marks.push({ x: xOf(time, w), words: clockTime(time, step) });
    }
    return marks;
}

function drawAxis() {
    const w = width();
    const context = sharp(axis, axis.parentElement.clientWidth, 26);
    context.fillStyle = palette.soft;
    context.textAlign = "center";
    for (const { x, words } of axisMarks(w)) {
        context.fillRect(Math.round(x), 21, 1, 5);
        context.fillText(words, x, 12);
    }
    context.textAlign = "left";
    context.fillText(`${seconds(view.to - view.from)} shown`, 12, 12);
}

function drawRow(context, owner, y, w) {
    const pad = rowHeight >= LABEL_HEIGHT ? 3 : rowHeight >= 6 ? 1 : 0;
    const [top, height] = [y + pad, rowHeight - Math.max(2 * pad, 1)];
    if (owner < 0) drawConnection(context, owner, top, height, w);
    else drawStream(context, owner, top, height, w);
}

function drawSpan(context, from, to, top, height, w) {
    if (to < view.from || from > view.to) return;
    const x = Math.max(xOf(from, w), GUTTER - 3);
    context.fillRect(x, top, Math.max(Math.min(xOf(to, w), w) - x, 0.7), height);
}

function drawConnection(context, owner, top, height, w) {
    const row = data.connections[-1 - owner];
    context.fillStyle = palette.soft;
    context.globalAlpha = 0.35;
    drawSpan(context, row.made * 1e6, row.ended === null ? END : row.ended * 1e6, top + height / 2 - 1.5, 3, w);
    context.globalAlpha = 1;
    if (rowHeight >= TICK_HEIGHT) drawTicks(context, owner, top, height, w);
    for (const [, at, what, , code] of marksOf(-1 - owner)) {
        if (at < view.from || at > view.to) continue;
        const x = xOf(at, w);
        if (what === "round trip") drawDot(context, x, top + height / 2, palette.rtt);
        else if (what.startsWith("goaway")) drawFlag(context, x, top, height, code, w);
    }
}

function drawDot(context, x, y, colour) {
    context.fillStyle = colour;
    context.beginPath();
    context.arc(x, y, 2.5, 0, 7);
    context.fill();
}

function drawFlag(context, x, top, height, code, w) {
    const words = `GOAWAY ${code}`;
    context.fillStyle = code === "NO_ERROR" ? palette.soft : palette["stream-window"];
    context.fillRect(x - 1, top - 2, 2, height + 4);
    if (height < 8) return;
    const room = context.measureText(words).width + 8;
    const left = x + room > w ? x - room - 1 : x + 1;
    plate(context, left, top, room, height);
    context.fillText(words, left + 4, top + height / 2 + 0.5);
}

// What makes words legible that stand on something else.
function plate(context, left, top, room, height) {
    const colour = context.fillStyle;
    context.fillStyle = palette.card;
    context.globalAlpha = 0.85;
    context.fillRect(left, top - 1, room, height + 2);
    context.globalAlpha = 1;
    context.fillStyle = colour;
}

function drawStream(context, stream, top, height, w) {
    context.fillStyle = palette.active;
    const closed = closedAt(stream);
    drawSpan(context, streams.opened[stream], closed, top, height, w);
    for (const reason of LAYERS) drawWaits(context, stream, reason, top, height, w);
    if (rowHeight >= TICK_HEIGHT) drawTicks(context, stream, top, height, w);
    if (text("error", stream)) drawEnd(context, stream, xOf(closed, w), top, height, w);
}

// Waits of one kind; those too near to each other to be seen apart are one rectangle.
function drawWaits(context, stream, reason, top, height, w) {
    context.fillStyle = palette[cssName(data.reasons[reason])];
    const pixel = (view.to - view.from) / plotWidth(w) / 2;
    eachWait(stream, reason, pixel, (from, to) => drawSpan(context, from, to, top, height, w));
}

function eachWait(stream, reason, pixel, act) {
    let [from, to] = [null, null];
    for (const place of waitsOf(stream)) {
        if (waits.reason[place] !== reason) continue;
        const began = waits.began[place];
        const ended = began + waits.lasted[place];
        if (to !== null && began - to < pixel) {
            to = Math.max(to, ended);
            continue;
        }
        if (to !== null) act(from, to);
        [from, to] = [began, ended];
    }
    if (to !== null) act(from, to);
    // The longest is kept with its stream, whatever became of its row.
    for (const place of totalsOf(stream)) {
        if (totals.reason[place] === reason) act(totals.began[place], totals.began[place] + totals.lasted[place]);
    }
}

// Frames as ticks: sent upwards from the middle, received downwards; one for each pixel and direction.
function drawTicks(context, owner, top, height, w) {
    const order = framesOf(owner);
    const half = height / 2;
    const drawn = [-9, -9];
    for (let place = firstFrom(order, frames.at, view.from); place < order.length; place += 1) {
        const frame = order[place];
        const time = frames.at[frame];
        if (time > view.to) break;
        const [sent, type] = frames.kinds[frames.kind[frame]];
        const x = Math.round(xOf(time, w));
        const isData = type === 0 || type === 8;
        if (isData && drawn[+sent] === x) continue;
        drawn[+sent] = x;
        context.fillStyle = type === 3 ? palette["stream-window"] : palette.tick;
        context.globalAlpha = type === 0 ? 0.42 : type === 8 ? 0.3 : 0.9;
        const length = type === 8 ? half * 0.55 : half;
        context.fillRect(x - 0.5, sent ? top + half - length : top + half, type === 1 ? 2 : 1, length);
    }
    context.globalAlpha = 1;
}

function drawEnd(context, stream, x, top, height, w) {
    if (x < GUTTER - 3 || x > w) return;
    const size = Math.min(height / 2, 4.5);
    const y = top + height / 2;
    context.strokeStyle = palette["stream-window"];
    context.lineWidth = height >= 6 ? 2 : 1;
    context.beginPath();
    context.moveTo(x - size, y - size);
    context.lineTo(x + size, y + size);
    context.moveTo(x + size, y - size);
    context.lineTo(x - size, y + size);
    context.stroke();
    if (height < 8) return;
    const words = text("error", stream).replace(/^reset by (.*): (.*)$/, "$2, by $1");
    const room = context.measureText(words).width + 10;
    const left = x + room > w ? x - room - 6 : x + 7;
    context.fillStyle = palette.ink;
    plate(context, left, top, room - 4, height);
    context.fillText(words, left + 3, y + 0.5);
}

function drawName(context, owner, y) {
    context.fillStyle = owner < 0 ? palette.ink : palette.soft;
    context.font = owner < 0 ? `600 ${FONT}` : FONT;
    const middle = y + rowHeight / 2 + 0.5;
    if (owner < 0) {
        context.fillText(fitted(context, connectionName(-1 - owner), GUTTER - 20), 12, middle);
    } else {
        context.textAlign = "right";
        context.fillText(streams.id[owner] > 0 ? streams.id[owner] : "–", 50, middle);
        context.textAlign = "left";
        context.fillStyle = palette.ink;
        context.fillText(fitted(context, requestOf(owner), GUTTER - 68), 58, middle);
    }
    context.font = FONT;
}

// Where rows are too low for names, a connection's is beside its first streams.
function drawConnectionNames(context, first, last, top) {
    let below = -99;
    for (let place = first; place < last; place += 1) {
        const y = place * rowHeight - top + rowHeight / 2;
        if (rows[place] >= 0 || y < below + 14) continue;
        below = y;
        context.fillStyle = palette.ink;
        context.font = `600 ${FONT}`;
        context.fillText(fitted(context, connectionName(-1 - rows[place]), GUTTER - 20), 12, Math.max(y, 7));
    }
    context.font = FONT;
    context.fillStyle = palette.soft;
    if (below < 0) context.fillText(`rows ${first + 1} to ${last} of ${rows.length}`, 12, 9);
}

function fitted(context, words, room) {
    if (context.measureText(words).width <= room) return words;
    let length = Math.min(words.length, 60);
    while (length > 1 && context.measureText(`${words.slice(0, length)}…`).width > room) length -= 1;
    return `${words.slice(0, length)}…`;
}

// All rows and all of the time, small, and which part is seen.
let overviewImage = null;

function drawOverview() {
    const w = overview.parentElement.clientWidth;
    const h = 46;
    const context = sharp(overview, w, h);
    const inner = plotWidth(width());
    const x = (time) => GUTTER + (time / END) * inner;
    const line = Math.max(h / Math.max(rows.length, 1), 1);
    if (overviewImage === null || overviewImage.rows !== rows || overviewImage.w !== w) {
        overviewImage = { rows, w, canvas: document.createElement("canvas") };
        const picture = sharp(overviewImage.canvas, w, h);
        rows.forEach((owner, place) => {
            if (owner < 0) return;
            const y = (place / rows.length) * h;
            picture.fillStyle = palette.active;
            picture.fillRect(x(streams.opened[owner]), y, Math.max(x(closedAt(owner)) - x(streams.opened[owner]), 0.5), line);
            for (const reason of LAYERS) {
                picture.fillStyle = palette[cssName(data.reasons[reason])];
                eachWait(owner, reason, END / inner, (from, to) => picture.fillRect(x(from), y, Math.max(x(to) - x(from), 0.5), line));
            }
        });
    }
    context.drawImage(overviewImage.canvas, 0, 0, w, h);
    context.fillStyle = palette.soft;
    context.fillText("All of it", 12, h / 2);
    const [from, to] = [Math.max(x(view.from), GUTTER - 6), Math.min(x(view.to), w - 4)];
    const top = (scroller.scrollTop / Math.max(rows.length * rowHeight, 1)) * h;
    const seen = Math.min((scroller.clientHeight / Math.max(rows.length * rowHeight, 1)) * h, h - top);
    context.strokeStyle = palette.accent;
    context.lineWidth = 1.5;
    context.strokeRect(from, top + 1, Math.max(to - from, 2), Math.max(seen - 2, 3));
}

function repaint() {
    readPalette();
    overviewImage = null;
    draw();
}
