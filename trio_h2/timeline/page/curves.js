// The windows below the bars, by uPlot: those of a connection, with its round trips, and those of the chosen stream.

const curves = new Map(); // by the element that has them
const SYNC = uPlot.sync("time");

function showCurves(id, owner, title) {
    const box = document.getElementById(id);
    curves.get(id)?.plot.destroy();
    curves.delete(id);
    box.hidden = owner === null;
    if (owner === null) return;
    box.querySelector("h3").textContent = title;
    const [times, send, receive, unread] = windowCurves(owner);
    const isConnection = owner < 0;
    const series = [{ label: "at", value: (plot, value) => (value === null ? "" : clockTime(value * 1e6, 1000)) }];
    const columns = [];
    series.push(line("we may send", "send"), line("the peer may send", "receive"));
    columns.push(send, receive);
    if (isConnection) {
        const [at, ...joined] = withRoundTrips(owner, times, columns);
        series.push(dots("round trip", "rtt"));
        plotInto(id, box, owner, [at, ...joined], series);
    } else {
        series.push({ ...line("unread", "unread"), fill: `${palette.unread}33` });
        plotInto(id, box, owner, [times, ...columns, unread], series);
    }
}

const line = (label, colour) => ({
    label,
    stroke: () => palette[colour],
    width: 1.5,
    paths: uPlot.paths.stepped({ align: 1 }),
    points: { show: false },
    value: (plot, value) => (value === null || value === undefined ? "–" : octets(value)),
});

const dots = (label, colour) => ({
    label,
    scale: "rtt",
    stroke: () => palette[colour],
    paths: () => null,
    points: { show: true, size: 5, fill: palette[colour] },
    value: (plot, value) => (value === null || value === undefined ? "–" : seconds(value)),
});

// Round trips are at moments of their own: there the windows are what they were before.
function withRoundTrips(owner, times, columns) {
    const trips = marksOf(-1 - owner).filter(([, , what]) => what === "round trip");
    const joined = [[], [], [], []];
    let place = 0;
    const put = (at, trip) => {
        joined[0].push(at);
        columns.forEach((column, number) => joined[number + 1].push(column[Math.max(place - 1, 0)]));
        joined[3].push(trip);
    };
    for (const [, at, , value] of trips) {
        for (; place < times.length && times[place] <= at / 1e6; ) {
            place += 1;
            put(times[place - 1], null);
        }
        put(at / 1e6, value * 1e6);
    }
    for (; place < times.length; ) {
        place += 1;
        put(times[place - 1], null);
    }
    return joined;
}

function plotInto(id, box, owner, columns, series) {
    const hasTrips = series.some((each) => each.scale === "rtt") && columns[3].some((value) => value !== null);
    const axisOf = (extra) => ({
        stroke: () => palette.soft,
        grid: { stroke: () => palette.line, width: 1 },
        ticks: { show: false },
        font: FONT,
        ...extra,
    });
    const options = {
        width: box.clientWidth,
        height: 150,
        padding: [8, hasTrips ? 0 : MARGIN + gap(), 0, 0],
        cursor: { sync: { key: SYNC.key }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
        legend: { live: true },
        scales: {
            x: { time: false, range: () => [view.from / 1e6, view.to / 1e6] },
            y: { range: (plot, low, high) => [Math.min(low, 0), Math.max(high, 1) * 1.08] },
            rtt: { range: (plot, low, high) => [0, Math.max(high ?? 0, 1) * 1.15] },
        },
        axes: [
            axisOf({ size: 20, space: 90, values: (plot, marks) => marks.map((mark, place) =>
                clockTime(mark * 1e6, marks.length > 1 ? (marks[1] - marks[0]) * 1e6 : 1e6)) }),
            axisOf({ size: GUTTER, space: 28, incrs: binarySteps(), values: (plot, marks) => marks.map(octets) }),
        ],
        series,
        hooks: { setSelect: [(plot) => chooseSpan(plot)] },
    };
    if (hasTrips) {
        options.axes.push(axisOf({ scale: "rtt", side: 1, size: MARGIN + gap(), grid: { show: false },
            values: (plot, marks) => marks.map(seconds), stroke: () => palette.rtt }));
    }
    curves.set(id, { plot: new uPlot(options, columns, box.querySelector("div")), owner });
}

// What the scroll bar of the bars takes from their width.
const gap = () => scroller.offsetWidth - scroller.clientWidth;

function binarySteps() {
    const steps = [];
    for (let power = 0; power < 40; power += 1) steps.push(2 ** power);
    return steps;
}

function chooseSpan(plot) {
    const { left, width: span } = plot.select;
    if (span < 4) return;
    const [from, to] = [plot.posToVal(left, "x") * 1e6, plot.posToVal(left + span, "x") * 1e6];
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    show(from, to);
}

function followCurves() {
    for (const { plot } of curves.values()) {
        plot.setScale("x", { min: view.from / 1e6, max: view.to / 1e6 });
    }
}

function resizeCurves() {
    for (const [id, { plot }] of curves) {
        plot.setSize({ width: document.getElementById(id).clientWidth, height: 150 });
    }
}
