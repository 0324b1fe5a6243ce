// The gallery: pictures appear when their row is near, rows are ordered and filtered.
const gallery = by("rows");
const rows = [...gallery.children];
gallery.hidden = false; // While the page arrives, thousands of rows would be laid out again and again.

function span(className, text) {
  const made = document.createElement("span");
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
function place(element, [left, top, right, bottom]) {
  const percent = (part) => `${(100 * part).toFixed(2)}%`;
  element.style.inset = [top, 1 - right, 1 - bottom, left].map(percent).join(" ");
  return element;
}
// Boxes are drawn once for each copy of a picture: where the judge saw it, what was asked, how it was judged.
function drawBoxes(figure, boxes) {
  const frame = figure.querySelector(".frame");
  const verdicts = JSON.parse(figure.dataset.verdicts);
  frame.append(...verdicts.filter(([, , , seen]) => seen.length).map(([, , , seen]) => place(span("box seen"), seen)));
  frame.append(...verdicts.map(([state], index) => place(span(`box ${state}`), boxes[index][0])));
  for (const [index, [state, mark]] of verdicts.entries()) {
    const [left, top, right] = boxes[index][0];
    const tag = span(`mark ${state}`, mark);
    tag.style.top = `${100 * Math.max(0, top)}%`;
    if (left > 0.8) tag.style.right = `${100 * (1 - right)}%`;
    else tag.style.left = `${100 * Math.max(0, left)}%`;
    if (mark) frame.append(tag);
  }
}
function reveal(row) {
  if (row.dataset.revealed) return;
  row.dataset.revealed = "yes";
  for (const image of all("img", row)) {
    image.decoding = "async";
    image.src = image.dataset.src;
  }
  const boxes = JSON.parse(row.dataset.boxes);
  for (const figure of all(".shot", row)) drawBoxes(figure, boxes);
}
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    reveal(target);
  }
}, { rootMargin: "600px" });
for (const row of rows) near.observe(row);
addEventListener("beforeprint", () => rows.filter((row) => !row.hidden).forEach(reveal));

// Rows that were not yet seen count as high as the first one, so that the page is about as long as it is.
function measure() {
  const shown = rows.find((row) => !row.hidden);
  if (shown) gallery.style.setProperty("--tall", `${Math.round(shown.getBoundingClientRect().height)}px`);
}
measure();
addEventListener("resize", measure);

const texts = new Map();
function textOf(row) {
  if (!texts.has(row)) {
    const prompts = JSON.parse(row.dataset.boxes).map(([, prompt]) => prompt);
    texts.set(row, [...all("h3, .prompt, .gone", row).map((part) => part.textContent), ...prompts].join(" ").toLowerCase());
  }
  return texts.get(row);
}
function wanted(row, words, strata) {
  const own = JSON.parse(row.dataset.strata);
  if (!strata.every(([index, value]) => !value || own[index] === value)) return false;
  return words.every((word) =>
    word.length > 1 && word.startsWith("-") ? !textOf(row).includes(word.slice(1)) : textOf(row).includes(word));
}
function rank(row, key) {
  const system = by("of")?.value ?? "";
  const value = key === "score" && system !== "" ? JSON.parse(row.dataset.scores)[system] : row.dataset[key];
  return value === "" || value === null ? null : Number(value);
}
function arrange() {
  const [key, direction] = by("order").value.split("-");
  const known = rows.map((row) => [rank(row, key), row]);
  const sign = direction === "down" ? -1 : 1;
  known.sort(([a, one], [b, other]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (a - b) || one.dataset.number - other.dataset.number;
  });
  gallery.append(...known.map(([, row]) => row));
  filter();
}
function filter() {
  const words = by("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  const strata = all(".stratum").map((select) => [select.dataset.stratum, select.value]);
  let shown = 0;
  for (const row of rows) {
    row.hidden = !wanted(row, words, strata);
    shown += !row.hidden;
  }
  const count = rows.length === 1 ? "1 layout" : `${rows.length.toLocaleString("en")} layouts`;
  by("count").textContent = shown === rows.length ? count : `${shown.toLocaleString("en")} of ${count}`;
  by("nothing").hidden = shown > 0 || rows.length === 0;
}
by("words").addEventListener("input", filter);
for (const select of all(".stratum")) select.addEventListener("change", filter);
by("order").addEventListener("change", arrange);
by("of")?.addEventListener("change", () => {
  if (!by("order").value.startsWith("score")) by("order").value = "score-up";
  arrange();
});
by("boxes").addEventListener("change", () => { gallery.dataset.drawn = by("boxes").value; });
by("size").addEventListener("input", () => document.documentElement.style.setProperty("--thumb", `${by("size").value}px`));

const hiding = document.createElement("style");
document.head.append(hiding);
for (const box of all(".shows")) {
  box.addEventListener("change", () => {
    const off = all(".shows").filter((other) => !other.checked);
    hiding.textContent = off.map((other) => `.shot[data-system="${other.value}"] { display: none; }`).join("\n");
  });
}
