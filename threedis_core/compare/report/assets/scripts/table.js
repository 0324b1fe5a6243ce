// Tables are sorted by the buttons in their heads; rows without a value stay last.
function sortTable(table, column, kind, descending) {
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const compare = kind === "number"
    ? (a, b) => Number(value(a)) - Number(value(b))
    : (a, b) => value(a).localeCompare(value(b), undefined, { numeric: true });
  const rows = [...table.tBodies[0].rows];
  const known = rows.filter((row) => value(row) !== "").sort(compare);
  if (descending) known.reverse();
  table.tBodies[0].append(...known, ...rows.filter((row) => value(row) === ""));
}
for (const button of all(".sortable .sort")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const first = button.dataset.sort === "number" ? "descending" : "ascending";
    const other = first === "descending" ? "ascending" : "descending";
    const now = head.getAttribute("aria-sort") === first ? other : first;
    for (const cell of head.parentNode.cells) cell.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", now);
    sortTable(head.closest("table"), head.cellIndex, button.dataset.sort, now === "descending");
  });
}
