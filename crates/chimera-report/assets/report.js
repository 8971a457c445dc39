// Sortable tables: a button in each heading; up, down, then the original order. Missing values stay last.
(function () {
  "use strict";
  // On a small screen the contents would push the report out of sight.
  var contents = document.querySelector(".contents details");
  if (contents && window.matchMedia("(max-width:62rem)").matches) contents.open = false;
  var words = new Intl.Collator("en", { numeric: true });
  function key(row, column) {
    var cell = row.cells[column];
    if (cell.hasAttribute("data-missing")) return { missing: true };
    if (cell.hasAttribute("data-v")) return { number: Number(cell.getAttribute("data-v")) };
    var text = cell.textContent.trim();
    return text === "" ? { missing: true } : { text: text };
  }
  function compare(a, b) {
    if ("number" in a && "number" in b) return a.number - b.number;
    if ("number" in a) return -1;
    if ("number" in b) return 1;
    return words.compare(a.text, b.text);
  }
  document.querySelectorAll(".scroll>table").forEach(function (table) {
    var body = table.tBodies[0];
    var original = Array.prototype.slice.call(body.rows);
    if (original.length < 2) return;
    var heads = Array.prototype.slice.call(table.tHead.rows[0].cells);
    heads.forEach(function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      while (head.firstChild) button.appendChild(head.firstChild);
      head.appendChild(button);
      button.addEventListener("click", function () {
        var now = head.getAttribute("aria-sort");
        var next = now === "ascending" ? "descending" : now === "descending" ? null : "ascending";
        heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
        var rows = original.slice();
        if (next) {
          head.setAttribute("aria-sort", next);
          var sign = next === "ascending" ? 1 : -1;
          var keyed = rows.map(function (row) { return { row: row, key: key(row, column) }; });
          keyed.sort(function (a, b) {
            if (a.key.missing || b.key.missing) return (a.key.missing ? 1 : 0) - (b.key.missing ? 1 : 0);
            return sign * compare(a.key, b.key);
          });
          rows = keyed.map(function (item) { return item.row; });
        }
        rows.forEach(function (row) { body.appendChild(row); });
      });
    });
  });
})();
