"use strict";
// Sort each set of a table's rows by the column whose heading is pressed; a dash stays below all numbers.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
      const number = (row) => (key(row) === "" ? NaN : Number(key(row)));
      const before = (a, b) => {
        const [x, y] = [number(a), number(b)];
        if (column === 0) return up ? key(a).localeCompare(key(b)) : key(b).localeCompare(key(a));
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
        return up ? x - y : y - x;
      };
      for (const body of table.tBodies) body.append(...[...body.rows].sort(before));
    });
  });
}
// A number leads to all cells behind it, which it names, or else the first of them does: they are opened, and the first
// is scrolled to.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#cell-"]');
  if (!link) return;
  document.querySelectorAll("details.shown").forEach((cell) => cell.classList.remove("shown"));
  const first = link.hash.slice("#cell-".length);
  const named = link.dataset.cells ?? document.getElementById(`cell-${first}`)?.dataset.cells ?? first;
  for (const id of named.split(" ")) {
    const cell = document.getElementById(`cell-${id}`);
    if (cell) { cell.open = true; cell.classList.add("shown"); }
  }
});
// An address within the page opens what it names.
const unfold = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") target.open = true;
};
addEventListener("hashchange", unfold);
unfold();
