// The recording, taken apart: columns of streams, waits, frames and notes of credit, and which of them are whose.

const data = JSON.parse(document.getElementById("data").textContent);
const END = Math.max(data.seconds * 1e6, 1);
const DEFAULT_WINDOW = 65535; // RFC 9113 section 6.9.2

const STATES = [
    ["unread", "data that nobody reads"],
    ["stream window", "its stream window"],
    ["connection window", "the connection window"],
    ["transport", "the transport"],
    ["slot", "a slot"],
    ["headers", "the peer's headers"],
    ["body", "the peer's data"],
];
const WORDS = new Map(STATES);
// What stands before what in a bar, where two of them are at once: the last is on top.
const LAYERS = ["body", "headers", "unread", "transport", "connection window", "stream window", "slot"].map((reason) =>
    data.reasons.indexOf(reason),
);

const cssName = (reason) => reason.replace(" ", "-");

function summed(differences) {
    const times = new Float64Array(differences.length);
    let time = 0;
    differences.forEach((difference, place) => {
        time += difference;
        times[place] = time;
    });
    return times;
}

// For each stream the places of its rows, in order: those of stream s are order[start[s]] to order[start[s + 1]].
// The connections come after the streams.
function byOwner(owners) {
    const streams = data.streams.id.length;
    const slots = streams + data.connections.length;
    const slotOf = (owner) => (owner >= 0 ? owner : streams - 1 - owner);
    const start = new Uint32Array(slots + 1);
    for (const owner of owners) start[slotOf(owner) + 1] += 1;
    for (let slot = 0; slot < slots; slot += 1) start[slot + 1] += start[slot];
    const next = start.slice();
    const order = new Uint32Array(owners.length);
    owners.forEach((owner, place) => {
        order[next[slotOf(owner)]++] = place;
    });
    return (owner) => order.subarray(start[slotOf(owner)], start[slotOf(owner) + 1]);
}

const streams = data.streams;
const text = (column, stream) => streams.texts[streams[column][stream]];
const closedAt = (stream) => {
    const closed = streams.closed[stream];
    if (closed !== null) return closed;
    const ended = data.connections[streams.connection[stream]].ended;
    return ended === null ? END : ended * 1e6;
};

const waits = { ...data.waits, began: summed(data.waits.began) };
const frames = { ...data.frames, at: summed(data.frames.at) };
const credits = { ...data.credits, at: summed(data.credits.at) };
const totals = { ...data.totals, began: summed(data.totals.began) };
const waitsOf = byOwner(waits.stream);
const framesOf = byOwner(frames.stream);
const creditsOf = byOwner(credits.stream);
const totalsOf = byOwner(totals.stream);

const connectionOf = (owner) => (owner >= 0 ? streams.connection[owner] : -1 - owner);
const marksOf = (connection) => data.marks.filter(([owner]) => owner === -1 - connection);

function streamName(stream) {
    return streams.id[stream] > 0 ? `stream ${streams.id[stream]}` : "never opened";
}

function requestOf(stream) {
    return [text("method", stream), text("path", stream) || text("authority", stream)].filter(Boolean).join(" ");
}

function connectionName(connection) {
    const row = data.connections[connection];
    return `connection ${row.number}, ${row.side === "client" ? "to" : "from"} ${row.peer}`;
}

// Seconds that a stream waited for one thing, or for all that holds it up.
function waited(stream, reason) {
    let micros = 0;
    for (const place of totalsOf(stream)) {
        const name = data.reasons[totals.reason[place]];
        if (reason ? name === reason : name !== "headers" && name !== "body") micros += totals.seconds[place];
    }
    return micros / 1e6;
}

// The first place in `order` whose time is not before `time`.
function firstFrom(order, times, time) {
    let low = 0;
    let high = order.length;
    while (low < high) {
        const middle = (low + high) >> 1;
        if (times[order[middle]] < time) low = middle + 1;
        else high = middle;
    }
    return low;
}

// Where times are alike: credit is there before it is used, and given when something was taken.
const RANKS = ["initial sent", "initial received", "credited", "sent", "received", "taken", "given"];

// What windows had, and what lay unread, over time: [times, send, receive, unread] in seconds and octets.
function windowCurves(owner) {
    const connection = connectionOf(owner);
    const row = data.connections[connection];
    const isStream = owner >= 0;
    const events = [];
    const whole = isStream
        ? { sent: streams.sent[owner], received: streams.received[owner], taken: streams.taken[owner],
            given: streams.given[owner], credited: streams.credited[owner] }
        : { sent: row.data_sent, received: row.data_received, taken: 0,
            given: row.credit_given, credited: row.credit_received };
    const owners = isStream ? [owner] : [owner, ...streamsOf(connection)];
    for (const each of owners) {
        for (const place of framesOf(each)) {
            const [sent, type] = frames.kinds[frames.kind[place]];
            if (type === 0) events.push([frames.at[place], sent ? "sent" : "received", frames.length[place]]);
        }
    }
    for (const place of creditsOf(owner)) {
        events.push([credits.at[place], ["given", "credited", "taken"][credits.what[place]], credits.octets[place]]);
    }
    // What came before the oldest row that is kept is what the sums have beside the rows.
    const state = { ...whole };
    for (const [, what, octets] of events) state[what] -= octets;
    const initial = { sent: DEFAULT_WINDOW, received: DEFAULT_WINDOW };
    if (isStream) {
        for (const [, at, what, value] of marksOf(connection)) {
            const side = what === "initial window received" ? "sent" : what === "initial window sent" ? "received" : "";
            if (side) events.push([at, "initial " + side, value]);
        }
    }
    events.sort((one, other) => one[0] - other[0] || RANKS.indexOf(one[1]) - RANKS.indexOf(other[1]));
    return drawnCurves(events, state, initial, isStream ? [streams.opened[owner], closedAt(owner)] : null, row);
}

function drawnCurves(events, state, initial, life, row) {
    const [times, send, receive, unread] = [[], [], [], []];
    const [from, to] = life ?? [row.made * 1e6, row.ended === null ? END : row.ended * 1e6];
    const note = (at) => {
        times.push(at / 1e6);
        send.push(initial.sent + state.credited - state.sent);
        receive.push(initial.received + state.given - state.received);
        unread.push(Math.max(state.received - state.taken, 0));
    };
    let begun = false;
    for (const [at, what, octets] of events) {
        if (at > to) break;
        if (!begun && at >= from) {
            note(from);
            begun = true;
        }
        if (what.startsWith("initial ")) initial[what.slice(8)] = octets;
        else state[what] += octets;
        if (begun) note(at);
    }
    if (!begun) note(from);
    note(to);
    return [times, send, receive, unread];
}

const streamsByConnection = data.connections.map(() => []);
streams.connection.forEach((connection, stream) => streamsByConnection[connection].push(stream));
const streamsOf = (connection) => streamsByConnection[connection];
