#include "host/sweep/page.h"

namespace cafx {

namespace {

constexpr const char* kSweepStyle = R"(
main.wide{max-width:1180px}.tall{max-height:520px;overflow:auto;border:1px solid var(--rule);border-radius:10px;background:var(--card)}
.tall thead th{position:sticky;top:0;background:var(--card);z-index:1}th button{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer;white-space:nowrap}th button::after{content:" \2195";opacity:.4}th[aria-sort=ascending] button::after{content:" \2191";opacity:1}th[aria-sort=descending] button::after{content:" \2193";opacity:1}
th button:focus-visible,input:focus-visible{outline:2px solid var(--a);outline-offset:2px}tbody tr:hover td{background:color-mix(in srgb,var(--a) 9%,transparent)}td a{color:var(--a);text-decoration:none}td a:hover{text-decoration:underline}td.reason,td.settings{white-space:normal;min-width:26ch;text-align:left}
.state{display:inline-block;padding:0 8px;border-radius:9px;font-size:.8rem;border:1px solid var(--rule);color:var(--soft)}.state.done{color:var(--c);border-color:var(--c)}.state.failed,.state.blocked{color:var(--b);border-color:var(--b)}.state.running{color:var(--a);border-color:var(--a)}
.tools{display:flex;flex-wrap:wrap;gap:10px;align-items:center;margin:0 0 8px}.tools input{font:inherit;font-size:.92rem;padding:5px 10px;border:1px solid var(--rule);border-radius:8px;background:var(--card);color:var(--ink);min-width:0;flex:0 1 300px}.tools button{font:inherit;font-size:.88rem;padding:5px 12px;border:1px solid var(--rule);border-radius:8px;background:var(--card);color:var(--ink);cursor:pointer}
#parallel{overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:10px;margin:0 0 6px}#parallel svg{display:block}#parallel path{fill:none;stroke-width:1.4;opacity:.5;cursor:pointer}#parallel path.out{opacity:.05}#parallel path.best{stroke-width:3;opacity:1}#parallel path.on{stroke-width:4;opacity:1;stroke:var(--ink)!important}
#parallel line{stroke:var(--soft)}#parallel text.title{fill:var(--ink);font-weight:500}#parallel .catch{fill:transparent;cursor:crosshair;touch-action:none}#parallel .brush{fill:var(--a);opacity:.22;pointer-events:none}#told{min-height:1.6em;overflow-wrap:anywhere}
.key{white-space:normal}.shares{margin:0 0 14px;display:grid;grid-template-columns:minmax(90px,max-content) 1fr 4.5ch;gap:6px 12px;align-items:center;font-size:.92rem;max-width:720px;font-variant-numeric:tabular-nums}.shares span{overflow-wrap:anywhere}.shares i{display:block;height:14px;border-radius:4px;background:var(--a);min-width:2px}.shares i.rest{background:var(--rule)}.shares b{font-weight:400;text-align:right}
.line.faint{stroke:var(--soft);stroke-width:1;opacity:.35}.key.faint::before{background:var(--soft)}
)";

// A block of its own: its names are not the page's.
constexpr const char* kScript = R"('use strict';
{
  const root = document.documentElement;
  window.addEventListener('error', e => { root.dataset.error = e.message; });
  const data = JSON.parse(document.getElementById('data').textContent);
  const body = document.querySelector('#runs tbody'), rows = body ? [...body.rows] : [];
  const byRow = new Map(rows.map(r => [+r.dataset.row, r]));

  function value(row, column) {
    const cell = row.cells[column], v = cell.dataset.v;
    return v !== undefined ? (v === '' ? null : +v) : (cell.textContent.trim() || null);
  }
  function sortBy(th, direction) {
    const column = th.cellIndex;
    const sign = direction === 'descending' ? -1 : 1;
    for (const other of th.parentNode.cells) other.removeAttribute('aria-sort');
    th.setAttribute('aria-sort', direction);
    const order = [...body.rows].map((row, i) => [value(row, column), i, row]);
    order.sort(([a, i], [b, j]) => {
      if (a === null || b === null) return (a === null) - (b === null) || i - j;
      const c = typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b), 'en', {numeric: true});
      return sign * c || i - j;
    });
    body.append(...order.map(o => o[2]));
  }
  for (const button of document.querySelectorAll('#runs th button')) {
    button.addEventListener('click', () => {
      const th = button.parentNode;
      sortBy(th, th.getAttribute('aria-sort') === 'ascending' ? 'descending' : 'ascending');
    });
  }
  const wanted = /[#&]sort=([^&]+)/.exec(location.hash);
  if (wanted) {
    const name = decodeURIComponent(wanted[1]).replace(/^-/, ''), down = /[#&]sort=-/.test(location.hash);
    const th = [...document.querySelectorAll('#runs th')].find(h => h.dataset.name === name);
    if (th) sortBy(th, down ? 'descending' : 'ascending');
  }

  const ranges = data.axes.map(() => null);
  const paths = new Map();
  const search = document.getElementById('search'), count = document.getElementById('count');
  const place = new Map(data.runs.map(run => [run.row, run.at]));
  function inside(row) {
    const at = place.get(row);
    return ranges.every((r, i) => !r || (at && at[i] !== null && at[i] >= r[0] && at[i] <= r[1]));
  }
  function refresh() {
    const words = search ? search.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
    let n = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const shown = words.every(w => text.includes(w)) && inside(+row.dataset.row);
      row.hidden = !shown;
      n += shown;
      const path = paths.get(+row.dataset.row);
      if (path) path.classList.toggle('out', !shown);
    }
    if (count) count.textContent = n === rows.length ? `${n} runs` : `${n} of ${rows.length} runs`;
  }
  if (search) search.addEventListener('input', refresh);

  const box = document.getElementById('parallel'), told = document.getElementById('told');
  const svgNode = (name, attributes, parent) => {
    const node = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (parent) parent.append(node);
    return node;
  };
  function draw() {
    const n = data.axes.length, top = 46, height = 300, gap = 150;
    const width = Math.max(box.clientWidth - 2, 2 * 70 + gap * (n - 1));
    const svg = svgNode('svg', {width, height: height + top + 22, role: 'img', 'aria-label': 'parallel coordinates of all finished runs'});
    const x = i => 70 + i * (width - 170) / Math.max(1, n - 1), y = u => top + (1 - u) * height;
    const tell = run => { told.textContent = run ? run.text : ''; };
    [...data.runs].sort((a, b) => b.rank - a.rank).forEach(run => {
      let d = '', pen = 'M';
      run.at.forEach((u, i) => {
        if (u === null) { pen = 'M'; return; }
        d += `${pen}${x(i).toFixed(1)},${y(u).toFixed(1)}`;
        pen = 'L';
      });
      const mix = Math.round(100 * run.rank / Math.max(1, data.runs.length - 1));
      const path = svgNode('path', {d, style: `stroke:color-mix(in oklab,var(--b) ${mix}%,var(--a))`}, svg);
      if (run.rank === 0) path.classList.add('best');
      paths.set(run.row, path);
      const row = byRow.get(run.row);
      const mark = on => { path.classList.toggle('on', on); tell(on ? run : null); };
      for (const node of row ? [path, row] : [path]) {
        node.addEventListener('pointerenter', () => mark(true));
        node.addEventListener('pointerleave', () => mark(false));
      }
    });
    data.axes.forEach((axis, i) => {
      svgNode('line', {x1: x(i), x2: x(i), y1: y(0), y2: y(1)}, svg);
      const title = svgNode('text', {x: x(i), y: 20, 'text-anchor': 'middle', class: 'name title'}, svg);
      title.textContent = axis.name;
      for (const [u, text] of axis.ticks) {
        svgNode('line', {x1: x(i), x2: x(i) + 4, y1: y(u), y2: y(u)}, svg);
        svgNode('text', {x: x(i) + 7, y: y(u) + 4, class: 'halo'}, svg).textContent = text;
      }
      const brush = svgNode('rect', {x: x(i) - 9, width: 18, class: 'brush', y: 0, height: 0}, svg);
      const hit = svgNode('rect', {x: x(i) - 14, width: 28, y: top - 8, height: height + 16, class: 'catch'}, svg);
      let from = null;
      const at = e => Math.min(1, Math.max(0, 1 - (e.clientY - svg.getBoundingClientRect().top - top) / height));
      const set = range => {
        ranges[i] = range;
        brush.setAttribute('y', range ? y(range[1]) : 0);
        brush.setAttribute('height', range ? (range[1] - range[0]) * height : 0);
        refresh();
      };
      hit.addEventListener('pointerdown', e => { from = at(e); hit.setPointerCapture(e.pointerId); });
      hit.addEventListener('pointermove', e => { if (from !== null) set([Math.min(from, at(e)), Math.max(from, at(e))]); });
      hit.addEventListener('pointerup', e => { if (Math.abs(at(e) - from) < 0.02) set(null); from = null; });
      axis.clear = () => set(null);
    });
    box.replaceChildren(svg);
  }
  if (box && data.axes.length > 1) {
    draw();
    let width = box.clientWidth;
    new ResizeObserver(() => {
      if (box.clientWidth === width) return;
      width = box.clientWidth;
      paths.clear();
      ranges.fill(null);
      draw();
      refresh();
    }).observe(box);
    document.getElementById('clear').addEventListener('click', () => {
      data.axes.forEach(a => a.clear());
      if (search) search.value = '';
      refresh();
    });
  }
  refresh();
  root.dataset.ready = 'yes';
})";

}  // namespace

const char* sweep_style() { return kSweepStyle; }

const char* sweep_script() { return kScript; }

}  // namespace cafx
