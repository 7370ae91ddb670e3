// What is known of the chosen stream, or connection; and of whatever the pointer is on.

const details = document.getElementById("details");
const tip = document.getElementById("tip");
const LISTED = 200;

function element(name, content, attributes = {}) {
    const made = document.createElement(name);
    if (content !== undefined) made.textContent = content;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
}

function list(pairs) {
    const made = element("dl");
    for (const [term, description, reason] of pairs) {
        const name = element("dt", term);
        if (reason) name.prepend(element("i", "", { class: cssName(reason) }));
        made.append(name, element("dd", description));
    }
    return made;
}

function showDetails(owner) {
    details.replaceChildren();
    if (owner === null) {
        details.append(element("h2", "Nothing chosen"), element("p", "Click a bar, or one of the sentences above."));
    } else if (owner < 0) {
        showConnectionDetails(-1 - owner);
    } else {
        showStreamDetails(owner);
    }
    if (owner !== null) showFrames(owner);
}

function showConnectionDetails(connection) {
    const row = data.connections[connection];
    const marks = marksOf(connection);
    const trips = marks.filter(([, , what]) => what === "round trip").map(([, , , value]) => value * 1e6);
    details.append(element("h2", connectionName(connection)));
    details.append(element("p", [row.side, row.tls || "no TLS"].join(", ")));
    const pairs = [
        ["made", seconds(row.made * 1e6)],
        ["ended", row.ended === null ? "no" : seconds(row.ended * 1e6)],
        ["streams", streamsOf(connection).length.toLocaleString("en")],
        ["DATA sent", octets(row.data_sent)],
        ["DATA received", octets(row.data_received)],
    ];
    if (trips.length) {
        trips.sort((one, other) => one - other);
        pairs.push(["round trips", `${trips.length}, ${seconds(trips[0])} to ${seconds(trips[trips.length - 1])}`]);
    }
    details.append(list(pairs));
    if (row.error) details.append(element("p", row.error, { class: "error" }));
    for (const [, at, what, value, code] of marks.filter(([, , what]) => what.startsWith("goaway"))) {
        const words = `GOAWAY ${what.slice(7)} at ${seconds(at)}: ${code}, last stream ${value}`;
        details.append(element("p", words, { class: code === "NO_ERROR" ? "" : "error" }));
    }
}

function showStreamDetails(stream) {
    const closed = streams.closed[stream];
    details.append(element("h2", streamName(stream)));
    details.append(element("p", requestOf(stream), { class: "request" }));
    details.append(element("p", [text("authority", stream), connectionName(streams.connection[stream])].filter(Boolean).join(" · ")));
    details.append(list([
        ["opened", seconds(streams.opened[stream])],
        ["closed", closed === null ? "no" : seconds(closed)],
        ["open for", seconds(closedAt(stream) - streams.opened[stream])],
        ["DATA sent", octets(streams.sent[stream])],
        ["DATA received", octets(streams.received[stream])],
    ]));
    if (text("error", stream)) details.append(element("p", text("error", stream), { class: "error" }));
    const found = [...totalsOf(stream)].sort((one, other) => totals.seconds[other] - totals.seconds[one]);
    if (found.length) details.append(element("h3", "It waited for (in parts)"));
    details.append(list(found.map((place) => {
        const reason = data.reasons[totals.reason[place]];
        const times = totals.times[place] > 1 ? ` (${totals.times[place].toLocaleString("en")})` : "";
        return [WORDS.get(reason), seconds(totals.seconds[place]) + times, reason];
    })));
    if (streams.idleFrom[stream] !== null) {
        const span = `${seconds(streams.idleFrom[stream])} to ${seconds(streams.idleTo[stream])}`;
        details.append(list([["its reader took nothing", span]]));
    }
}

function frameWords(place) {
    const [sent, , name, flags] = frames.kinds[frames.kind[place]];
    const end = (flags & 1) && /^(DATA|HEADERS)$/.test(name) ? " END_STREAM" : (flags & 1) && /^(PING|SETTINGS)$/.test(name) ? " ACK" : "";
    return `${sent ? "sent" : "received"} ${name}${end}, ${frames.length[place].toLocaleString("en")} octets`;
}

function showFrames(owner) {
    const order = framesOf(owner);
    if (!order.length) return;
    const shown = order.length > LISTED ? `the first ${LISTED} of ${order.length.toLocaleString("en")}` : `${order.length}`;
    details.append(element("h3", `Frames, ${shown}`));
    const items = element("ol");
    for (const place of order.subarray(0, LISTED)) {
        items.append(element("li", `${(frames.at[place] / 1e6).toFixed(6)} ${frameWords(place)}`));
    }
    details.append(items);
}

// What a bar says at one moment, and the frame that is nearest.
function tipWords(owner, time, near) {
    const lines = owner < 0 ? [connectionName(-1 - owner)] : [`${streamName(owner)} ${requestOf(owner)}`];
    lines[0] += `  ·  ${seconds(Math.max(time, 0))}`;
    if (owner >= 0 && time >= streams.opened[owner] && time <= closedAt(owner)) {
        const now = [...waitsOf(owner)].filter((place) => waits.began[place] <= time && time <= waits.began[place] + waits.lasted[place]);
        for (const place of now) {
            const span = `${seconds(waits.lasted[place])} from ${seconds(waits.began[place])}`;
            lines.push(`${data.reasons[waits.reason[place]] === "unread" ? "has" : "waits for"} ${WORDS.get(data.reasons[waits.reason[place]])}: ${span}`);
        }
        if (!now.length) lines.push("waits for nothing of HTTP/2: the application is at work");
    }
    const order = framesOf(owner);
    const place = firstFrom(order, frames.at, time - near);
    if (place < order.length && frames.at[order[place]] <= time + near) lines.push(frameWords(order[place]));
    for (const [, at, what, value, code] of owner < 0 ? marksOf(-1 - owner) : []) {
        if (Math.abs(at - time) > near) continue;
        lines.push(what === "round trip" ? `round trip of ${seconds(value * 1e6)}` : `${what} ${code} ${value}`);
    }
    if (owner >= 0 && text("error", owner) && Math.abs(time - closedAt(owner)) <= near * 2) lines.push(text("error", owner));
    return lines.join("\n");
}

function showTip(event, words) {
    tip.hidden = words === null;
    if (words === null) return;
    tip.textContent = words;
    const left = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
    const below = event.clientY + 18;
    const top = below + tip.offsetHeight > window.innerHeight ? event.clientY - tip.offsetHeight - 10 : below;
    tip.style.left = `${Math.max(left, 4)}px`;
    tip.style.top = `${Math.max(top, 4)}px`;
}
