// The large view: a copy of a row with full-size pictures, where they lie beside the page.
const viewer = by("viewer");
let seenRow = null;

function enlarge(copy) {
  for (const image of all("img", copy)) {
    image.src = image.dataset.src;
    const full = new Image();
    full.addEventListener("load", () => { image.src = full.src; });
    if (image.dataset.full) full.src = image.dataset.full;
  }
  for (const button of all(".open", copy)) {
    const image = button.querySelector("img");
    const plain = document.createElement(image?.dataset.full ? "a" : "div");
    plain.className = "open";
    if (image?.dataset.full) Object.assign(plain, { href: image.dataset.full, target: "_blank", rel: "noopener" });
    plain.append(...button.childNodes);
    button.replaceWith(plain);
  }
}
function cell(kind, text, className = "") {
  const made = Object.assign(document.createElement(kind), { className });
  made.textContent = text;
  return made;
}
// One line for each instance, one column for each picture: what the judge says in words.
function verdictTable(row) {
  const figures = all(".shot", row).filter((figure) => figure.checkVisibility?.() ?? true);
  const judged = figures.map((figure) => JSON.parse(figure.dataset.verdicts));
  if (!judged.some((verdicts) => verdicts.length)) return null;
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  head.append(cell("th", "Instance"), ...figures.map((figure) => cell("th", labelOf(figure))));
  for (const one of head.cells) one.scope = "col";
  const body = table.createTBody();
  JSON.parse(row.dataset.boxes).forEach(([, prompt], index) => {
    const line = body.insertRow();
    const name = cell("th", `${index + 1} ${prompt}`);
    name.scope = "row";
    name.dir = "auto";
    line.append(name, ...judged.map((verdicts) => told(verdicts[index])));
  });
  if (figures.some((figure) => figure.dataset.values)) {
    const line = body.insertRow();
    const values = figures.map((figure) => JSON.parse(figure.dataset.values ?? "[]"));
    line.append(cell("th", "Whole picture"), ...values.map((pairs) => cell("td", words(pairs))));
  }
  return table;
}
const words = (pairs) => pairs.map(([name, value]) => `${name} ${value}`).join(", ");
function labelOf(figure) {
  const seed = figure.closest(".line").querySelector(".seed")?.textContent;
  const system = figure.querySelector("figcaption bdi").textContent;
  return seed ? `${system}, ${seed}` : system;
}
function told(verdict) {
  const made = document.createElement("td");
  if (!verdict) return Object.assign(made, { textContent: "–" });
  const [state, , values] = verdict;
  const name = { right: "✓ right", wrong: "✗ found, not right", missing: "✗ not found", unjudged: "not judged" }[state];
  made.append(cell("span", name, `verdict ${state}`), cell("span", words(values), "span"));
  return made;
}
// As many columns as there is room for, but no line of one picture below a full one.
function columnsFor(row) {
  const shown = all("figure", row.querySelector(".line")).filter((figure) => getComputedStyle(figure).display !== "none");
  const most = Math.max(1, Math.floor((by("viewer-body").clientWidth - 16) / 290));
  return Math.ceil(shown.length / Math.ceil(shown.length / most));
}
function show(row, figure) {
  reveal(row);
  seenRow = row;
  const copy = document.createElement("div");
  copy.className = "row";
  copy.style.cssText = row.style.cssText;
  copy.append(...row.cloneNode(true).childNodes);
  enlarge(copy);
  const table = verdictTable(row);
  if (table) copy.append(table);
  by("viewer-title").textContent = row.querySelector(".name").textContent;
  by("viewer-body").replaceChildren(copy);
  by("viewer-body").scrollTo(0, 0);
  if (!viewer.open) viewer.showModal();
  copy.style.setProperty("--columns", columnsFor(row));
  const index = figure ? all("figure", row).indexOf(figure) : 0;
  if (index > 0) all("figure", copy)[index].scrollIntoView({ block: "nearest" });
}
function step(count) {
  const shown = [...gallery.children].filter((row) => !row.hidden);
  const next = shown[shown.indexOf(seenRow) + count];
  if (next) show(next);
}
function toggleMarks() {
  const off = by("viewer-body").dataset.drawn !== "none";
  by("viewer-body").dataset.drawn = off ? "none" : "all";
  by("marks").setAttribute("aria-pressed", String(!off));
}
gallery.addEventListener("click", (event) => {
  const figure = event.target.closest("figure");
  if (event.target.closest("button.open")) show(figure.closest(".row"), figure);
});
by("previous").addEventListener("click", () => step(-1));
by("next").addEventListener("click", () => step(1));
by("close").addEventListener("click", () => viewer.close());
by("marks").addEventListener("click", toggleMarks);
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
viewer.addEventListener("close", () => seenRow?.querySelector("button.open")?.focus({ preventScroll: true }));
viewer.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const does = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), b: toggleMarks }[event.key];
  if (does) { event.preventDefault(); does(); }
});
