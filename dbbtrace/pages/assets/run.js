// The waterfall of one run: which operations are shown, in which order, for which time.

const total = data.name.length;
const of = (key, index) => data.strings[data[key][index]];
const lastEnd = Math.max(0.001, ...data.end.map((end) => end || 0), ...data.begin.map((begin) => begin || 0));
const haystack = data.name.map((name, index) =>
  [name, data.id[index], data.message[index], of('source', index), of('kind', index), of('errorType', index)]
    .filter(Boolean).join('\n').toLowerCase());
const downstream = data.name.map(() => []);
data.upstream.forEach((parents, index) => parents.forEach((parent) => downstream[parent].push(index)));

// What the run did again later is in the list, with a count of its own. All other counts are of outcomes.
const AGAIN = 'Done again';
const statusOf = (index) => (data.superseded[index] ? AGAIN : of('status', index));
const againIn = (indices) => indices.filter((index) => data.superseded[index]).length;
const all = data.name.map((_, index) => index), againInAll = againIn(all);
const besides = (again) => (again ? `${count(again)} done again later` : '');

const state = { search: '', statuses: new Set(), workload: '', onlyPath: false, sort: 'start', from: 0, to: lastEnd,
  folded: new Set() };

// -- which items ---------------------------------------------------------------------------------------------

const COLUMNS = [
  { key: 'name', title: 'Operation', class: 'c-name' },
  { key: 'status', title: 'Status', class: 'c-status' },
  { key: 'start', title: 'Time line', class: 'c-bar' },
  { key: 'seconds', title: 'Took', class: 'c-time num' },
  { key: 'change', title: 'History', class: 'c-trend num' },
  { key: 'rows', title: 'Rows', class: 'c-rows num' },
  { key: 'bytes', title: 'Bytes', class: 'c-bytes num' },
];
const RANK = { Failed: 0, Running: 1, Unknown: 2, Warned: 3, Skipped: 4, Succeeded: 5, [AGAIN]: 6 };
const descending = (key) => (a, b) => (data[key][b] ?? -Infinity) - (data[key][a] ?? -Infinity) || a - b;
const ORDERS = {
  start: (a, b) => a - b,
  name: (a, b) => data.name[a].localeCompare(data.name[b]) || a - b,
  status: (a, b) => (RANK[of('status', a)] ?? 2) - (RANK[of('status', b)] ?? 2) || a - b,
  seconds: descending('seconds'), change: descending('change'), rows: descending('rows'), bytes: descending('bytes'),
};

function fits(index) {
  if (state.statuses.size && !state.statuses.has(statusOf(index))) return false;
  if (state.workload && of('workload', index) !== state.workload) return false;
  if (state.onlyPath && !data.path[index]) return false;
  if (state.search && !haystack[index].includes(state.search)) return false;
  if (state.from > 0 || state.to < lastEnd) {
    const begin = data.begin[index], end = data.end[index] ?? begin;
    return begin !== null && end >= state.from && begin <= state.to;
  }
  return true;
}

/** The operations that match, in order. Sorted by start, they are grouped by workload. */
function items() {
  const found = [];
  for (let index = 0; index < total; index += 1) if (fits(index)) found.push(index);
  if (state.sort !== 'start') return [found.sort(ORDERS[state.sort]), found];
  const shown = [];
  for (const workload of data.workloads) {
    const members = found.filter((index) => of('workload', index) === workload);
    if (!members.length) continue;
    shown.push(groupOf(workload, members));
    if (!state.folded.has(workload)) shown.push(...members);
  }
  return [shown, found];
}

const groups = new Map();
function groupOf(workload, members) {
  const known = groups.get(workload) || { workload };
  groups.set(workload, known);
  const begins = members.map((index) => data.begin[index]).filter((at) => at !== null);
  const ends = members.map((index) => data.end[index]).filter((at) => at !== null);
  known.again = againIn(members);
  known.size = members.length - known.again;
  known.failed = members.filter((index) => statusOf(index) === 'Failed').length;
  known.begin = begins.length ? begins.reduce((a, b) => Math.min(a, b)) : null;
  known.end = ends.length ? ends.reduce((a, b) => Math.max(a, b)) : null;
  return known;
}

// -- rows ----------------------------------------------------------------------------------------------------

function cell(column, ...children) {
  return el('div', { class: COLUMNS[column].class, role: 'gridcell' }, ...children);
}

function bar(begin, end, classes) {
  const track = el('div', { class: 'track' });
  if (begin === null) return track;
  const wide = state.to - state.from, until = end === null ? begin : end;
  const left = Math.max((begin - state.from) / wide, 0), right = Math.min((until - state.from) / wide, 1);
  if (right < 0 || left > 1) return track;
  const drawn = el('div', { class: `bar ${classes}` });
  drawn.style.left = `${(Math.min(left, 0.998) * 100).toFixed(3)}%`;
  drawn.style.width = `${(Math.max(right - left, 0) * 100).toFixed(3)}%`;
  track.append(drawn);
  return track;
}

function spark(index) {
  const all = [...data.earlier[index], data.seconds[index]];
  if (all.length < 2 || data.seconds[index] === null) return null;
  const most = Math.max(...all, 1e-9), points = all.map((seconds, place) =>
    [(place / (all.length - 1)) * 60 + 1, 17 - (seconds / most) * 16]);
  const [x, y] = points[points.length - 1];
  return svg('svg', { class: 'spark', viewBox: '0 0 62 18', 'aria-hidden': 'true' },
    svg('polyline', { points: points.map((point) => point.map((at) => at.toFixed(1)).join(',')).join(' ') }),
    svg('circle', { cx: x.toFixed(1), cy: y.toFixed(1), r: 2 }));
}

function row(item) {
  return typeof item === 'number' ? operationRow(item) : groupRow(item);
}

function operationRow(index) {
  const status = of('status', index), style = styleOf(status);
  const grown = status === 'Succeeded' || status === 'Warned' ? data.change[index] : null;
  const path = data.path[index] ? 'onpath' : '';
  const kind = of('kind', index), said = data.name[index].startsWith(`${kind} `) ? null : el('span', { class: 'kind' }, kind);
  const again = data.superseded[index] ? el('span', { class: 'kind' }, 'done again later') : null;
  const name = el('span', { class: 'label', title: data.name[index] }, data.name[index], said, again);
  const trend = grown === null ? '' : el('span', { class: data.notable[index] ? (grown > 0 ? 'up' : 'down') : '' }, change(grown));
  return el('div', { class: `row ${path} ${data.superseded[index] ? 'again' : ''}`, 'aria-level': 2 },
    cell(0, name),
    cell(1, el('span', { class: `badge ${style}` }, el('span', { 'aria-hidden': 'true' }, `${sign(status)} `), status)),
    cell(2, bar(data.begin[index], data.end[index], `${style} ${path}`)),
    cell(3, status === 'Skipped' ? '' : duration(data.seconds[index])),
    cell(4, el('div', { class: 'trend' }, spark(index), trend)),
    cell(5, count(data.rows[index])),
    cell(6, bytes(data.bytes[index])));
}

function groupRow(group) {
  const failed = group.failed ? `${count(group.failed)} failed` : '';
  const again = group.again ? `${count(group.again)} done again` : '';
  const counts = [count(group.size), failed, again].filter(Boolean).join(', ');
  const took = group.begin !== null && group.end !== null ? group.end - group.begin : null;
  return el('div', { class: 'row group', 'aria-level': 1, 'aria-expanded': String(!state.folded.has(group.workload)) },
    cell(0, el('span', { class: 'label' }, `${group.workload} (${counts})`)),
    cell(1), cell(2, bar(group.begin, group.end, '')), cell(3, duration(took)), cell(4), cell(5), cell(6));
}

// -- the grid and its head -----------------------------------------------------------------------------------

const grid = new Grid(document.getElementById('operations'), {
  label: 'Operations of the run; Enter shows one in full',
  render: row,
  chosen: (item) => (typeof item === 'number' ? detail.show(item) : fold(item, state.folded.has(item.workload))),
  toggled: (item, open) => typeof item !== 'number' && fold(item, open),
  onPaper: (item) => typeof item !== 'number' || of('status', item) !== 'Succeeded' || data.path[item],
});

const detail = new Detail(document.getElementById('detail'), {
  closed: () => grid.viewport.focus({ preventScroll: true }),
  choose: (index) => {
    const place = grid.items.indexOf(index);
    if (place >= 0) grid.activate(place);
    detail.show(index);
  },
  downstream: (index) => downstream[index],
});

function fold(group, open) {
  if (open) state.folded.delete(group.workload);
  else state.folded.add(group.workload);
  update();
}

function ticks() {
  const wide = state.to - state.from, steps = [0, 0.25, 0.5, 0.75];
  return el('div', { class: 'ruler', 'aria-hidden': 'true' }, ...steps.map((step) => {
    const tick = el('span', null, duration(state.from + step * wide));
    tick.style.left = `${step * 100}%`;
    return tick;
  }));
}

function drawHead() {
  grid.head.replaceChildren(...COLUMNS.map((column) => {
    const sorted = state.sort === column.key;
    const order = ['name', 'start'].includes(column.key) ? 'ascending' : 'descending';
    const button = el('button', { onclick: () => sortBy(column.key), title: `Sort by ${column.title.toLowerCase()}` },
      column.title, sorted ? (order === 'ascending' ? ' ▴' : ' ▾') : '');
    return el('div', { class: column.class, role: 'columnheader', 'aria-sort': sorted ? order : null }, button,
      column.key === 'start' ? ticks() : '');
  }));
}

function sortBy(key) {
  state.sort = state.sort === key ? 'start' : key;
  const select = document.getElementById('sort');
  if (select) select.value = state.sort;
  grid.viewport.scrollTop = 0;
  update();
}

const operations = (number) => `${count(number)} operation${number === 1 ? '' : 's'}`;

function update() {
  const [shown, found] = items();
  drawHead();
  grid.show(shown);
  const again = againIn(found), outcomes = total - againInAll;
  const says = found.length === total ? operations(total - again) : `${count(found.length - again)} of ${operations(outcomes)} match`;
  document.getElementById('count').textContent = [says, besides(again)].filter(Boolean).join(', and ');
  grid.viewport.classList.toggle('nothing', !found.length);
  if (!found.length) grid.space.replaceChildren(el('p', { class: 'empty' }, 'No operation matches. '));
  minimap.brush();
}

// -- tools ---------------------------------------------------------------------------------------------------

function tools() {
  const bar = document.getElementById('tools');
  const counts = new Map();
  for (const index of all) counts.set(statusOf(index), (counts.get(statusOf(index)) || 0) + 1);
  const chips = [...counts].sort(([a], [b]) => (RANK[a] ?? 2) - (RANK[b] ?? 2)).map(([status, many]) =>
    el('button', { class: 'chip', 'aria-pressed': 'false', onclick: (event) => {
      const on = !state.statuses.delete(status);
      if (on) state.statuses.add(status);
      event.currentTarget.setAttribute('aria-pressed', String(on));
      update();
    } }, el('span', { class: `sign ${status === AGAIN ? 'muted' : styleOf(status)}`, 'aria-hidden': 'true' }, `${status === AGAIN ? '↻' : sign(status)} `), `${status} ${count(many)}`));
  const present = data.workloads.filter((name) => data.workload.some((place) => data.strings[place] === name));
  const search = el('input', { type: 'search', id: 'search', placeholder: 'Name, id, message (press /)',
    'aria-label': 'Search operations', oninput: () => {
      state.search = search.value.trim().toLowerCase();
      grid.viewport.scrollTop = 0;
      update();
    } });
  const select = (id, label, options, chosen) => el('label', null, label,
    el('select', { id, onchange: (event) => chosen(event.target.value) },
      ...options.map(([value, title]) => el('option', { value }, title))));
  bar.append(
    search,
    el('fieldset', { class: 'chips', 'aria-label': 'Only these statuses' }, ...chips),
    select('workload', 'Workload', [['', 'all'], ...present.map((name) => [name, name])], (value) => {
      state.workload = value;
      zoom(0, lastEnd);
    }),
    select('sort', 'Sort', COLUMNS.map((column) => [column.key, column.key === 'start' ? 'start' : column.title.toLowerCase()]),
      (value) => { state.sort = value; update(); }),
    select('zoom', 'Time', [['', 'whole run'], ...present.filter((name) => name !== 'reconciliation').map((name) => [name, name])],
      (value) => (value ? zoomTo(value) : zoom(0, lastEnd))),
    el('label', null, el('input', { type: 'checkbox', id: 'only-path', onchange: (event) => {
      state.onlyPath = event.target.checked;
      update();
    } }), 'critical path only'),
    el('button', { id: 'reset', onclick: reset }, 'Show all'));
  bar.hidden = false;
  document.getElementById('sort').value = state.sort;
}

function reset() {
  Object.assign(state, { search: '', workload: '', onlyPath: false, sort: 'start', from: 0, to: lastEnd });
  state.statuses.clear();
  state.folded.clear();
  document.getElementById('search').value = '';
  document.getElementById('only-path').checked = false;
  for (const [id, value] of [['workload', ''], ['sort', 'start'], ['zoom', '']]) document.getElementById(id).value = value;
  document.querySelectorAll('.chip').forEach((chip) => chip.setAttribute('aria-pressed', 'false'));
  update();
}

function zoom(from, to) {
  [state.from, state.to] = to - from < lastEnd / 2000 ? [0, lastEnd] : [Math.max(from, 0), Math.min(to, lastEnd)];
  update();
}

function zoomTo(workload) {
  let from = Infinity, to = 0;
  for (let index = 0; index < total; index += 1) {
    if (of('workload', index) !== workload || data.begin[index] === null) continue;
    from = Math.min(from, data.begin[index]);
    to = Math.max(to, data.end[index] ?? data.begin[index]);
  }
  zoom(from === Infinity ? 0 : from, to || lastEnd);
}

// -- the whole run in small: drag over it to choose a time -----------------------------------------------------

const minimap = {
  host: document.getElementById('minimap'),
  start() {
    this.canvas = el('canvas', { 'aria-hidden': 'true' });
    this.mark = el('div', { class: 'brush', hidden: true });
    this.host.append(this.canvas, this.mark);
    this.host.title = 'Drag to choose a stretch of time; double-click for the whole run';
    this.host.hidden = false;
    new ResizeObserver(() => this.draw()).observe(this.host);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
    let from = null;
    const at = (event) => {
      const box = this.host.getBoundingClientRect();
      return Math.max(0, Math.min((event.clientX - box.left) / box.width, 1)) * lastEnd;
    };
    this.host.addEventListener('pointerdown', (event) => {
      from = at(event);
      this.host.setPointerCapture(event.pointerId);
    });
    this.host.addEventListener('pointermove', (event) => {
      if (from !== null) this.paint(Math.min(from, at(event)), Math.max(from, at(event)));
    });
    this.host.addEventListener('pointerup', (event) => {
      if (from === null) return;
      const [low, high] = [Math.min(from, at(event)), Math.max(from, at(event))];
      from = null;
      document.getElementById('zoom').value = '';
      zoom(low, high);
    });
    this.host.addEventListener('pointercancel', () => { from = null; this.brush(); });
    this.host.addEventListener('dblclick', () => zoom(0, lastEnd));
  },
  draw() {
    const box = this.host.getBoundingClientRect(), scale = devicePixelRatio || 1;
    this.canvas.width = Math.max(box.width * scale, 1);
    this.canvas.height = Math.max(box.height * scale, 1);
    const context = this.canvas.getContext('2d'), style = getComputedStyle(document.documentElement);
    const colours = { Succeeded: '--good-bar', Failed: '--bad-bar', Warned: '--warn-bar', Skipped: '--skip-bar' };
    const thick = Math.max(this.canvas.height / Math.max(total, 1), 2 * scale);
    const draw = (index, colour) => {
      if (data.begin[index] === null) return;
      const x = (data.begin[index] / lastEnd) * this.canvas.width;
      const wide = (((data.end[index] ?? data.begin[index]) - data.begin[index]) / lastEnd) * this.canvas.width;
      context.fillStyle = style.getPropertyValue(colour);
      context.fillRect(x, (index / total) * this.canvas.height, Math.max(wide, scale), thick);
    };
    for (let index = 0; index < total; index += 1) draw(index, colours[of('status', index)] || '--run-bar');
    for (let index = 0; index < total; index += 1) if (of('status', index) === 'Failed') draw(index, '--bad-bar');
    for (let index = 0; index < total; index += 1) if (data.path[index]) draw(index, '--path');
  },
  paint(low, high) {
    this.mark.hidden = false;
    this.mark.style.left = `${(low / lastEnd) * 100}%`;
    this.mark.style.width = `${((high - low) / lastEnd) * 100}%`;
  },
  brush() {
    if (!this.mark) return;
    if (state.from > 0 || state.to < lastEnd) this.paint(state.from, state.to);
    else this.mark.hidden = true;
  },
};

addEventListener('keydown', (event) => {
  const typing = event.target.matches && event.target.matches('input[type="search"], select, textarea');
  if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    document.getElementById('search').focus();
  } else if (event.key === 'Escape' && detail.open) detail.close();
});
addEventListener('beforeprint', () => document.querySelectorAll('details').forEach((one) => { one.open = true; }));

tools();
minimap.start();
update();
