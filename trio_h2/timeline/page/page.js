// The page: what to show of it, and what keys, wheel and pointer do.

const byId = (id) => document.getElementById(id);
const chosenState = { reason: null };

// Which rows

function filteredRows() {
    const words = byId("search").value.trim().toLowerCase();
    const only = byId("connection").value;
    const order = byId("order").value;
    const matches = (stream) => !words || `${streams.id[stream]} ${requestOf(stream)} ${text("authority", stream)} ${text("error", stream)}`.toLowerCase().includes(words);
    const next = [];
    for (let connection = 0; connection < data.connections.length; connection += 1) {
        if (only !== "" && Number(only) !== connection) continue;
        const found = streamsOf(connection).filter((stream) => matches(stream) && (!chosenState.reason || waited(stream, chosenState.reason) > 0));
        const keys = { opened: (stream) => stream, waited: (stream) => -waited(stream, chosenState.reason), lasted: (stream) => streams.opened[stream] - closedAt(stream) };
        const sorted = found.map((stream) => [keys[order](stream), stream]).sort((one, other) => one[0] - other[0] || one[1] - other[1]);
        if (found.length || !(words || chosenState.reason)) next.push(-1 - connection);
        for (const [, stream] of sorted) next.push(stream);
    }
    return next;
}

function refilter() {
    setRows(filteredRows());
    const count = rows.filter((owner) => owner >= 0).length;
    byId("count").textContent = count === streams.id.length ? `${count.toLocaleString("en")} streams` : `${count.toLocaleString("en")} of ${streams.id.length.toLocaleString("en")} streams`;
    tableStart = 0;
    showTable();
}

function choose(owner, { reveal = false } = {}) {
    chosen = owner;
    showDetails(owner);
    const connection = owner === null ? (data.connections.length ? 0 : null) : connectionOf(owner);
    showCurves("connection-curve", connection === null ? null : -1 - connection, connection === null ? "" : `Windows of ${connectionName(connection)}`);
    showCurves("stream-curve", owner !== null && owner >= 0 ? owner : null, owner !== null && owner >= 0 ? `Windows of ${streamName(owner)} ${requestOf(owner)}` : "");
    const place = rows.indexOf(owner);
    if (reveal && place >= 0) {
        const y = place * rowHeight;
        if (y < scroller.scrollTop || y + rowHeight > scroller.scrollTop + scroller.clientHeight) {
            scroller.scrollTop = y - scroller.clientHeight / 2;
        }
    }
    draw();
}

function step(by) {
    const place = rows.indexOf(chosen);
    const next = place < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(place + by, 0), rows.length - 1);
    if (rows.length) choose(rows[next], { reveal: true });
}

function fit(owner) {
    if (owner === null) return;
    const [from, to] = owner < 0
        ? [data.connections[-1 - owner].made * 1e6, (data.connections[-1 - owner].ended ?? data.seconds) * 1e6]
        : [streams.opened[owner], closedAt(owner)];
    const margin = Math.max((to - from) * 0.05, 10);
    show(from - margin, to + margin);
}

function findStream(number, id) {
    const connection = data.connections.findIndex((row) => row.number === number);
    return streamsOf(connection).find((stream) => streams.id[stream] === id);
}

// What was pressed, and pointed at

function ownerAt(event) {
    const y = event.clientY - scroller.getBoundingClientRect().top + scroller.scrollTop;
    return rows[Math.floor(y / rowHeight)] ?? null;
}

const pointerTime = (event) => timeAt(event.clientX - scroller.getBoundingClientRect().left, width());

function onWheel(event, always) {
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        move(((event.deltaX || event.deltaY) / plotWidth(width())) * 0.8);
    } else if (always || event.ctrlKey || event.metaKey || scroller.scrollHeight <= scroller.clientHeight) {
        event.preventDefault();
        zoom(Math.exp(Math.max(Math.min(event.deltaY, 120), -120) * 0.0025), pointerTime(event));
    }
}

function dragged(target, onMove, onEnd) {
    target.addEventListener("pointerdown", (down) => {
        if (down.button !== 0) return;
        const start = { x: down.clientX, y: down.clientY, from: view.from, to: view.to, top: scroller.scrollTop, far: false };
        target.setPointerCapture(down.pointerId);
        const moved = (event) => {
            start.far ||= Math.hypot(event.clientX - start.x, event.clientY - start.y) > 4;
            if (start.far) onMove(event, start);
        };
        const ended = (event) => {
            target.removeEventListener("pointermove", moved);
            target.removeEventListener("pointerup", ended);
            target.removeEventListener("pointercancel", ended);
            onEnd?.(event, start);
        };
        target.addEventListener("pointermove", moved);
        target.addEventListener("pointerup", ended);
        target.addEventListener("pointercancel", ended);
    });
}

function setUpPointer() {
    dragged(bars, (event, start) => {
        const span = start.to - start.from;
        const by = ((start.x - event.clientX) / plotWidth(width())) * span;
        show(start.from + by, start.to + by);
        scroller.scrollTop = start.top + start.y - event.clientY;
    }, (event, start) => {
        if (!start.far) choose(ownerAt(event));
    });
    dragged(axis, () => {}, (event, start) => {
        if (!start.far) return;
        const left = scroller.getBoundingClientRect().left;
        const [one, other] = [timeAt(start.x - left, width()), timeAt(event.clientX - left, width())];
        show(Math.min(one, other), Math.max(one, other));
    });
    const jump = (event) => {
        const box = overview.getBoundingClientRect();
        const middle = ((event.clientX - box.left - GUTTER) / plotWidth(width())) * END;
        const span = view.to - view.from;
        scroller.scrollTop = ((event.clientY - box.top) / box.height) * rows.length * rowHeight - scroller.clientHeight / 2;
        show(middle - span / 2, middle + span / 2);
    };
    dragged(overview, jump, jump);
    bars.addEventListener("pointermove", (event) => {
        if (event.buttons) return showTip(event, null);
        const owner = ownerAt(event);
        if (owner !== hovered) {
            hovered = owner;
            drawBars();
        }
        const near = (3 / plotWidth(width())) * (view.to - view.from);
        showTip(event, owner === null ? null : tipWords(owner, pointerTime(event), near));
    });
    bars.addEventListener("pointerleave", (event) => {
        hovered = null;
        showTip(event, null);
        drawBars();
    });
    bars.addEventListener("dblclick", (event) => fit(ownerAt(event)));
    scroller.addEventListener("wheel", (event) => onWheel(event, false), { passive: false });
    for (const each of [axis, overview, byId("connection-curve"), byId("stream-curve")]) {
        each.addEventListener("wheel", (event) => onWheel(event, true), { passive: false });
    }
    scroller.addEventListener("scroll", draw);
}

const KEYS = {
    "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6),
    ArrowLeft: () => move(-0.15), ArrowRight: () => move(0.15),
    ArrowUp: () => step(-1), ArrowDown: () => step(1),
    "0": showAll, f: () => fit(chosen), "/": () => byId("search").focus(),
    "[": () => changeHeight(-1), "]": () => changeHeight(1), Escape: () => choose(null),
};

function setUpKeys() {
    document.addEventListener("keydown", (event) => {
        const inField = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        if (inField) {
            if (event.key === "Escape") event.target.blur();
            return;
        }
        // Arrows up and down are the page's own, unless the bars have the focus.
        if (/^Arrow(Up|Down)$/.test(event.key) && event.target !== scroller) return;
        const act = KEYS[event.key];
        if (!act) return;
        event.preventDefault();
        act();
    });
}

// What is set up once

function setUpTools() {
    const names = data.connections.map((row, connection) => element("option", connectionName(connection), { value: connection }));
    byId("connection").append(element("option", data.connections.length === 1 ? "the one there is" : "all", { value: "" }), ...names);
    byId("connection").disabled = data.connections.length < 2;
    byId("search").addEventListener("input", refilter);
    byId("connection").addEventListener("change", refilter);
    byId("order").addEventListener("change", refilter);
    const actions = { in: () => zoom(0.6), out: () => zoom(1 / 0.6), all: showAll, taller: () => changeHeight(1), flatter: () => changeHeight(-1) };
    for (const [id, act] of Object.entries(actions)) byId(id).addEventListener("click", act);
    byId("before").addEventListener("click", () => { tableStart -= PER_PAGE; showTable(); });
    byId("after").addEventListener("click", () => { tableStart += PER_PAGE; showTable(); });
    byId("waits").addEventListener("click", (event) => {
        const { connection, stream, began, ended } = event.target.closest("button")?.dataset ?? {};
        if (stream === undefined) return;
        const found = findStream(Number(connection), Number(stream));
        const margin = Math.max((ended - began) * 0.25e6, 50);
        choose(found, { reveal: true });
        show(began * 1e6 - margin, ended * 1e6 + margin);
    });
}

function setUpLegend() {
    const sums = new Map(STATES.map(([reason]) => [reason, 0]));
    totals.seconds.forEach((micros, place) => {
        const reason = data.reasons[totals.reason[place]];
        sums.set(reason, sums.get(reason) + micros);
    });
    for (const [reason, words] of STATES) {
        const button = element("button", undefined, { type: "button", "aria-pressed": "false", title: "Those that waited for this, the longest first" });
        button.append(element("i", "", { class: cssName(reason) }), element("span", words), element("span", sums.get(reason) ? seconds(sums.get(reason)) : "–", { class: "seconds" }));
        button.addEventListener("click", () => {
            chosenState.reason = chosenState.reason === reason ? null : reason;
            for (const each of byId("legend").querySelectorAll("button")) each.setAttribute("aria-pressed", String(each === button && chosenState.reason !== null));
            byId("order").value = chosenState.reason ? "waited" : "opened";
            refilter();
        });
        const item = element("li");
        item.append(button);
        byId("legend").append(item);
    }
    const item = element("li");
    const rest = element("button", undefined, { type: "button", disabled: "" });
    rest.append(element("i", "", { class: "active" }), element("span", "nothing: the application is at work"));
    item.append(rest);
    byId("legend").append(item);
}

function setTheme(isDark) {
    document.documentElement.classList.toggle("dark", isDark);
    byId("theme").textContent = isDark ? "Light" : "Dark";
    repaint();
    choose(chosen);
}

function setUpTheme() {
    const asked = matchMedia("(prefers-color-scheme: dark)");
    asked.addEventListener("change", () => setTheme(asked.matches));
    byId("theme").addEventListener("click", () => setTheme(!document.documentElement.classList.contains("dark")));
    setTheme(asked.matches || location.hash.includes("dark"));
}

function begin() {
    readPalette();
    setUpTools();
    setUpLegend();
    setUpPointer();
    setUpKeys();
    watchers.push(draw, followCurves);
    refilter();
    const first = byId("waits").querySelector("button");
    if (first) chosen = findStream(Number(first.dataset.connection), Number(first.dataset.stream)) ?? null;
    setUpTheme();
    showAll();
    choose(chosen, { reveal: true });
    new ResizeObserver(() => { layOut(); resizeCurves(); }).observe(byId("picture"));
    // For whoever opens the page by a program: that it is there, and how long it took.
    document.documentElement.dataset.ready = Math.round(performance.now());
}

window.addEventListener("error", (event) => { document.documentElement.dataset.failed = event.message; });
begin();
