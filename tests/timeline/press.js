// What a user does with the page, and what it shows then: lines of what was done and what is chosen.

const said = [];
const byQuery = (query) => [...document.querySelectorAll(query)];
const note = (what) =>
    said.push(`${what}: ${byQuery("#details h2")[0].textContent}, ${byQuery("#count")[0].textContent}, ${byQuery("#table tbody tr").length} rows`);
const press = (key, target) => target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const set = (id, value, kind) => {
    document.getElementById(id).value = value;
    document.getElementById(id).dispatchEvent(new Event(kind));
};

const scroller = document.getElementById("scroller");
const bars = document.getElementById("bars");
const box = scroller.getBoundingClientRect();
const rowHeight = () => document.getElementById("spacer").clientHeight / (byQuery("#table tbody tr").length + 1);
const at = (row) => ({ clientX: box.left + 400, clientY: box.top + (row + 0.4) * rowHeight(), bubbles: true, cancelable: true });

note("opened");
byQuery("#waits button")[2].click();
note("a sentence");
for (const key of ["+", "-", "ArrowLeft", "ArrowRight", "f", "0", "[", "]"]) press(key, document.body);
press("ArrowDown", scroller);
note("down");
press("Escape", scroller);
note("escape");
set("search", "small/1", "input");
note("search");
byQuery("#legend button")[0].click();
note("search and colour");
set("search", "", "input");
note("colour");
byQuery("#legend button")[0].click();
bars.dispatchEvent(new PointerEvent("pointermove", at(1)));
said.push(document.getElementById("tip").textContent.replace("\n", "; "));
for (const kind of ["pointerdown", "pointerup"]) bars.dispatchEvent(new PointerEvent(kind, { ...at(2), pointerId: 1 }));
note("click");
for (const each of [bars, document.getElementById("axis")]) each.dispatchEvent(new WheelEvent("wheel", { ...at(2), deltaY: -100 }));
document.getElementById("theme").click();
set("order", "lasted", "change");
note("at last");
document.documentElement.dataset.said = said.join("\n");
