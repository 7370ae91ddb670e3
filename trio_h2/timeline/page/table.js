// Every stream as a row of a table, a hundred at once: for screen readers, and for whoever wants numbers.

const PER_PAGE = 100;
const table = document.getElementById("table");
let tableStart = 0;
let tableOrder = { column: 0, falling: false };

const columns = [
    ["stream", (stream) => `${data.connections.length > 1 ? `${data.connections[streams.connection[stream]].number}/` : ""}${streams.id[stream]}`, (stream) => stream],
    ["request", requestOf, requestOf],
    ["opened", (stream) => fixed(streams.opened[stream] / 1e6), (stream) => streams.opened[stream]],
    ["open for", (stream) => fixed((closedAt(stream) - streams.opened[stream]) / 1e6), (stream) => closedAt(stream) - streams.opened[stream]],
    ...STATES.map(([reason]) => [reason, (stream) => fixed(waited(stream, reason)), (stream) => waited(stream, reason)]),
    ["sent", (stream) => streams.sent[stream].toLocaleString("en"), (stream) => streams.sent[stream]],
    ["received", (stream) => streams.received[stream].toLocaleString("en"), (stream) => streams.received[stream]],
    ["how it ended", (stream) => text("error", stream) || (streams.closed[stream] === null ? "open" : "well"), (stream) => text("error", stream)],
];

const fixed = (number) => (number ? number.toFixed(3) : "");

function showTable() {
    const shown = rows.filter((owner) => owner >= 0);
    const [, , key] = columns[tableOrder.column];
    const keys = new Map(shown.map((stream) => [stream, key(stream)]));
    const sign = tableOrder.falling ? -1 : 1;
    shown.sort((one, other) => {
        const [left, right] = [keys.get(one), keys.get(other)];
        return (left < right ? -1 : left > right ? 1 : one - other) * sign;
    });
    tableStart = Math.min(Math.max(tableStart, 0), Math.max(shown.length - 1, 0));
    const last = Math.min(tableStart + PER_PAGE, shown.length);
    document.getElementById("page").textContent = shown.length ? `${tableStart + 1} to ${last} of ${shown.length}` : "none";
    document.getElementById("before").disabled = tableStart === 0;
    document.getElementById("after").disabled = last >= shown.length;
    table.tHead.replaceChildren(headRow());
    table.tBodies[0].replaceChildren(...shown.slice(tableStart, last).map(bodyRow));
}

function headRow() {
    const row = element("tr");
    columns.forEach(([name], column) => {
        const cell = element("th", undefined, { scope: "col" });
        const button = element("button", name, { type: "button" });
        if (tableOrder.column === column) {
            cell.setAttribute("aria-sort", tableOrder.falling ? "descending" : "ascending");
            button.textContent += tableOrder.falling ? " ↓" : " ↑";
        }
        button.addEventListener("click", () => {
            tableOrder = { column, falling: tableOrder.column === column ? !tableOrder.falling : column > 1 };
            tableStart = 0;
            showTable();
        });
        cell.append(button);
        row.append(cell);
    });
    return row;
}

function bodyRow(stream) {
    const row = element("tr");
    for (const [, words] of columns) row.append(element("td", words(stream)));
    row.addEventListener("click", () => choose(stream, { reveal: true }));
    return row;
}
