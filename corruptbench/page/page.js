"use strict";
// Tables are whole without this: it makes the names of columns sort them, and commands copy themselves.

function valueOf(body, column, numeric) {
  const text = body.rows[0].cells[column].textContent.trim();
  if (!numeric) return text;
  return text === "" ? null : Number(text);
}

function compare(a, b) {
  return typeof a === "number" ? a - b : a.localeCompare(b, "en");
}

function sort(table, header) {
  const numeric = header.dataset.kind === "number";
  const before = header.getAttribute("aria-sort");
  // the best score first, and names from a to z
  const descending = before ? before === "ascending" : numeric;
  const rows = [...table.tBodies].map((body) => [valueOf(body, header.cellIndex, numeric), body]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // what has no number comes last either way
    return descending ? compare(b, a) : compare(a, b);
  });
  for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  table.append(...rows.map(([, body]) => body));
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sort(table, header));
  }
}

for (const command of document.querySelectorAll("code.command")) {
  const button = document.createElement("button");
  button.className = "copy";
  button.textContent = "copy";
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(command); // where the clipboard is closed to pages, it is selected at least
    try {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = "copied";
    } catch {
      button.textContent = "selected";
    }
  });
  command.after(button);
}
