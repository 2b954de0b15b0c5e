// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

namespace culprit::figures {

/// The style sheet of pages; colours come from themed(":root"). Free of '<' and '&', so that pages are XML
/// too.
inline constexpr std::string_view page_style =
    R"(*{box-sizing:border-box}
:root{color-scheme:light dark}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:66rem;background:var(--band);color:var(--ink);
  font:1rem/1.5 system-ui,sans-serif;-webkit-text-size-adjust:100%}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .5rem}
h2{font-size:1.25rem;line-height:1.3;margin:0}
p{margin:.25rem 0}
.lead{color:var(--muted);max-width:45rem}
dl{display:flex;flex-wrap:wrap;gap:.5rem 1.75rem;margin:1rem 0}
dt{font-size:.8rem;color:var(--muted)}
dd{margin:0;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:.5rem;margin:1rem 0}
nav a{display:flex;align-items:center;gap:.5rem;padding:.3rem .75rem .3rem .3rem;border:1px solid var(--grid);
  border-radius:.5rem;background:var(--surface);color:var(--ink);text-decoration:none}
nav a:hover,nav a:focus-visible{border-color:var(--series-1)}
nav img{width:2.25rem;height:2.25rem;object-fit:cover;border-radius:.3rem}
section{background:var(--surface);border:1px solid var(--grid);border-radius:.75rem;padding:1.25rem;margin:1.25rem 0}
.name{color:var(--muted);font-size:.9rem;overflow-wrap:anywhere}
.verdict.predicted{color:var(--series-0)}
.verdict.true{color:var(--series-1)}
.columns{display:grid;grid-template-columns:minmax(0,5fr) minmax(0,7fr);gap:1.5rem 2rem;margin:1rem 0 .5rem}
.look img{display:block;width:100%;max-width:16rem;border-radius:.5rem;margin:0 0 1rem}
table{width:100%;border-collapse:collapse;font-size:.9rem}
caption{text-align:left;font-weight:600;padding-bottom:.35rem}
th,td{text-align:left;padding:.28rem .5rem .28rem 0;border-bottom:1px solid var(--grid);vertical-align:middle}
thead th{color:var(--muted);font-weight:400}
tbody th{font-weight:400}
.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.rank{color:var(--muted)}
.layer{overflow-wrap:anywhere}
.graph{width:32%}
.track{display:block;height:.7rem}
.bar{display:block;height:100%;min-width:2px;border-radius:1px;background:var(--edge)}
.bar.predicted{background:var(--series-0)}
.bar.true{background:var(--series-1)}
.tag{display:inline-block;margin-left:.4rem;padding:0 .4rem;border:1px solid;border-radius:1rem;font-size:.72rem;
  white-space:nowrap}
.tag.predicted{color:var(--series-0)}
.tag.true{color:var(--series-1)}
figure{margin:1rem -.9rem 0}
figcaption{padding:0 .9rem;color:var(--muted);font-size:.9rem}
.wide svg,.narrow svg{display:block;width:100%;height:auto}
.narrow{display:none}
.reading{color:var(--muted)}
.reading h2{color:var(--ink);font-size:1rem}
nav a.section{padding:.3rem .75rem}
.prose{max-width:45rem;margin:.5rem 0}
.pictures{display:flex;flex-wrap:wrap;gap:1rem;margin:1rem 0}
.pictures figure{margin:0;width:9rem}
.pictures img{display:block;width:100%;border-radius:.5rem}
.pictures figcaption{padding:.3rem 0 0;overflow-wrap:anywhere}
.table{overflow:auto;max-height:32rem;margin:1rem 0 0}
.table:focus-visible{outline:2px solid var(--series-1)}
.sortable{width:auto;min-width:min(100%,28rem)}
.sortable th,.sortable td{padding:.28rem 1rem .28rem 0;white-space:nowrap}
.sortable tbody tr:hover{background:var(--band)}
.sortable thead th{position:sticky;top:0;background:var(--surface);box-shadow:inset 0 -1px var(--edge)}
.sortable thead button{padding:.2rem 0;border:0;background:none;color:inherit;font:inherit;text-align:inherit;cursor:pointer}
.sortable thead button:hover,.sortable thead [aria-sort]{color:var(--ink)}
.sortable thead button:focus-visible{outline:2px solid var(--series-1);outline-offset:2px}
.sortable thead button::after{content:"\2195";display:inline-block;width:1rem;text-align:center;opacity:.5}
.sortable thead [aria-sort] button::after{opacity:1}
.sortable thead [aria-sort="ascending"] button::after{content:"\2191"}
.sortable thead [aria-sort="descending"] button::after{content:"\2193"}
@media (max-width:42rem){
  body{padding:1rem .5rem 3rem}
  h1{font-size:1.4rem}
  section{padding:.9rem .75rem;border-radius:.5rem}
  figure{margin:1rem -.7rem 0}
  .columns{grid-template-columns:minmax(0,1fr)}
  .units .graph{display:none}
  .wide{display:none}
  .narrow{display:block}
  .wide.scrolls{display:block;overflow-x:auto}
  .wide.scrolls svg{width:40rem;max-width:none}
  .pictures figure{width:calc(50% - .5rem)}
}
@media print{
  body{background:none}
  section{break-inside:avoid}
  .table{overflow:visible;max-height:none}
}
)";

/// Makes the heads of tables buttons that sort the rows, numbers from the largest down first; without it the
/// tables are as they were written. Free of '<', '>' and '&', so that pages are XML too.
inline constexpr std::string_view sorting_script =
    R"(document.querySelectorAll("table.sortable").forEach(function (table) {
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach(function (head, column) {
    const numbers = head.classList.contains("number");
    const button = document.createElement("button");
    button.type = "button";
    button.append(head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", function () {
      const before = head.getAttribute("aria-sort");
      const down = before === null ? numbers : before === "ascending";
      heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = Array.from(body.rows);
      rows.sort(function (first, second) {
        const a = first.cells[column];
        const b = second.cells[column];
        const order = numbers ? a.dataset.value - b.dataset.value
                              : a.textContent.localeCompare(b.textContent, "en", {numeric: true});
        return down ? -order : order;
      });
      rows.forEach(function (row) { body.append(row); });
    });
  });
});
)";

}  // namespace culprit::figures
