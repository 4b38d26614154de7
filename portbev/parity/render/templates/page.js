/* Sortable tables, and what stands before the result folded on a phone. Without it the page reads the same. */
(function () {
  "use strict";
  var order = ["none", "descending", "ascending"];

  function key(row, column) {
    var cell = row.cells[column];
    var text = cell.hasAttribute("data-sort") ? cell.getAttribute("data-sort") : cell.textContent.trim();
    return text === "" || text === "\u2013" ? null : text;
  }

  function compare(a, b) {
    var x = Number(a), y = Number(b);
    return isNaN(x) || isNaN(y) ? a.localeCompare(b, undefined, {numeric: true}) : x - y;
  }

  function sort(table, rows, column, direction) {
    var sign = direction === "descending" ? -1 : 1;
    var sorted = direction === "none" ? rows.slice() : rows.slice().sort(function (one, other) {
      var a = key(one, column), b = key(other, column);
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * compare(a, b);
    });
    sorted.forEach(function (row) { table.tBodies[0].appendChild(row); });
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, place) {
      if (place === column && direction !== "none") head.setAttribute("aria-sort", direction);
      else head.removeAttribute("aria-sort");
    });
  }

  function chooser(table, rows, name) {
    var label = document.createElement("label"), select = document.createElement("select");
    label.className = "sort-by";
    label.textContent = "Sort by ";
    select.setAttribute("aria-label", name + ", sorted by");
    select.add(new Option("as reported", "-1"));
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, place) {
      select.add(new Option(head.getAttribute("data-name") || head.textContent.trim(), String(place)));
    });
    select.addEventListener("change", function () {
      var column = Number(select.value);
      sort(table, rows, column, column < 0 ? "none" : column === 0 ? "ascending" : "descending");
    });
    label.appendChild(select);
    return label;
  }

  function sortable(table) {
    var rows = Array.prototype.slice.call(table.tBodies[0].rows), box = table.parentNode;
    if (rows.length < 3) return;
    if (box.classList.contains("cards")) {
      box.parentNode.insertBefore(chooser(table, rows, box.getAttribute("aria-label") || ""), box);
    }
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      while (head.firstChild) button.appendChild(head.firstChild);
      var arrow = document.createElement("span");
      arrow.className = "arrow";
      button.insertBefore(arrow, button.querySelector("small"));
      head.appendChild(button);
      button.addEventListener("click", function () {
        var now = head.getAttribute("aria-sort") || "none";
        sort(table, rows, column, order[(order.indexOf(now) + 1) % order.length]);
      });
    });
  }

  Array.prototype.forEach.call(document.querySelectorAll("table.sortable"), sortable);

  if (window.matchMedia("(max-width: 700px)").matches) {
    Array.prototype.forEach.call(document.querySelectorAll(".contents details, .notes"), function (one) { one.open = false; });
  }

  window.addEventListener("beforeprint", function () {
    Array.prototype.forEach.call(document.querySelectorAll("details"), function (one) { one.open = true; });
  });
})();
