// The waterfall of one run: which operations are shown, in which order, on which stretch of time.

const total = data.name.length;
const of = (key, index) => data.strings[data[key][index]];
const lastEnd = Math.max(0.001, ...data.end.map((end) => end || 0), ...data.begin.map((begin) => begin || 0));
const haystack = data.name.map((name, index) =>
  [name, data.id[index], data.message[index], of('source', index), of('kind', index), of('errorType', index)]
    .filter(Boolean).join('\n').toLowerCase());
const because = new Map(data.graph.nodes.map((one, number) => [one, data.graph.because[number]])
  .filter(([one, cause]) => typeof one === 'number' && cause));
const isOld = (index) => because.has(index) && of('status', index) !== 'Skipped';
/** How many seconds an operation took in earlier runs, oldest first. */
const earlier = (index) => data.earlierMillis[index].map((millis) => millis / 1000);
const downstream = data.name.map(() => []);
data.upstream.forEach((parents, index) => parents.forEach((parent) => downstream[parent].push(index)));

// What the run did again later stands in the list, and is counted apart: counts are of outcomes, as everywhere.
const AGAIN = 'Done again';
const statusOf = (index) => (data.superseded[index] ? AGAIN : of('status', index));
const againIn = (indices) => indices.filter((index) => data.superseded[index]).length;
const all = data.name.map((_, index) => index), againInAll = againIn(all);
const besides = (again) => (again ? `${count(again)} done again later` : '');

const state = { search: '', statuses: new Set(), workload: '', onlyPath: false, sort: 'start', group: 'workload',
  from: 0, to: lastEnd, folded: new Set(), tried: new Set() };

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

const GROUPS = { workload: 'workload', schema: 'schema', tag: 'tag', kind: 'type', none: 'nothing' };
/** An option to choose; rows of dbt don't know its tags: the page was given a manifest, or it can't be chosen. */
const option = ([value, title]) => (value !== 'tag' || data.tag.some(Boolean) ? el('option', { value }, title)
  : el('option', { value, disabled: true }, 'tag (needs report --manifest)'));

/** The operations that fit, in order; by start they stand below their group, and below each the attempts that failed. */
function items() {
  const found = [];
  for (let index = 0; index < total; index += 1) if (fits(index)) found.push(index);
  if (state.sort !== 'start') return [found.sort(ORDERS[state.sort]), found];
  if (state.group === 'none') return [found.flatMap(withAttempts), found];
  const members = new Map();
  for (const index of found) {
    const name = of(state.group, index) || 'other';
    if (!members.has(name)) members.set(name, []);
    members.get(name).push(index);
  }
  const names = [...members.keys()], place = (name) => (data.workloads.indexOf(name) + 100) % 100;
  if (state.group === 'workload') names.sort((a, b) => place(a) - place(b));
  const shown = [];
  for (const name of names) {
    shown.push(groupOf(name, members.get(name)));
    if (!state.folded.has(name)) shown.push(...members.get(name).flatMap(withAttempts));
  }
  return [shown, found];
}

const tries = new Map(Object.entries(data.attempts).map(([index, found]) =>
  [Number(index), found.map((one) => ({ attempt: one, index: Number(index) }))]));
const withAttempts = (index) => [index, ...(state.tried.has(index) ? tries.get(index) || [] : [])];

const groups = new Map();
function groupOf(name, members) {
  const known = groups.get(`${state.group} ${name}`) || { group: name };
  groups.set(`${state.group} ${name}`, known);
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
  const all = [...earlier(index), data.seconds[index]];
  if (all.length < 2 || data.seconds[index] === null) return null;
  const most = Math.max(...all, 1e-9), points = all.map((seconds, place) =>
    [(place / (all.length - 1)) * 60 + 1, 17 - (seconds / most) * 16]);
  const [x, y] = points[points.length - 1];
  return svg('svg', { class: 'spark', viewBox: '0 0 62 18', 'aria-hidden': 'true' },
    svg('polyline', { points: points.map((point) => point.map((at) => at.toFixed(1)).join(',')).join(' ') }),
    svg('circle', { cx: x.toFixed(1), cy: y.toFixed(1), r: 2 }));
}

function row(item) {
  if (typeof item === 'number') return operationRow(item);
  return item.attempt ? attemptRow(item) : groupRow(item);
}

function operationRow(index) {
  const status = of('status', index), style = styleOf(status);
  const grown = status === 'Succeeded' || status === 'Warned' ? data.change[index] : null;
  const path = data.path[index] ? 'onpath' : '';
  const kind = of('kind', index), said = data.name[index].startsWith(`${kind} `) ? null : el('span', { class: 'kind' }, kind);
  const again = data.superseded[index] ? el('span', { class: 'kind' }, 'done again later') : null;
  const tried = tries.get(index) || [];
  const more = tried.length ? el('span', { class: 'kind' },
    `${state.tried.has(index) ? '▾' : '▸'} ${tried.length} failed attempt${tried.length === 1 ? '' : 's'}`) : null;
  const old = isOld(index) ? el('span', { class: 'kind old' }, 'older data') : null;
  const name = el('span', { class: 'label', title: data.name[index] }, data.name[index], said, again, old, more);
  const trend = grown === null ? '' : el('span', { class: data.notable[index] ? (grown > 0 ? 'up' : 'down') : '' }, change(grown));
  return el('div', { class: `row ${path} ${data.superseded[index] ? 'again' : ''}`, 'aria-level': 2,
    'aria-expanded': tried.length ? String(state.tried.has(index)) : null },
    cell(0, name),
    cell(1, el('span', { class: `badge ${style}` }, el('span', { 'aria-hidden': 'true' }, `${sign(status)} `), status)),
    cell(2, bar(data.begin[index], data.end[index], `${style} ${path}`)),
    cell(3, status === 'Skipped' ? '' : duration(data.seconds[index])),
    cell(4, el('div', { class: 'trend' }, spark(index), trend)),
    cell(5, count(data.rows[index])),
    cell(6, bytes(data.bytes[index])));
}

function attemptRow({ attempt }) {
  const took = attempt.begin === null || attempt.end === null ? null : attempt.end - attempt.begin;
  return el('div', { class: 'row attempt', 'aria-level': 3 },
    cell(0, el('span', { class: 'label', title: attempt.said }, attempt.said)),
    cell(1, el('span', { class: `badge ${styleOf(attempt.status)}` }, `${sign(attempt.status)} ${attempt.status}`)),
    cell(2, bar(attempt.begin, attempt.end, styleOf(attempt.status))), cell(3, duration(took)), cell(4), cell(5), cell(6));
}

function groupRow(group) {
  const failed = group.failed ? `${count(group.failed)} failed` : '';
  const again = group.again ? `${count(group.again)} done again` : '';
  const counts = [count(group.size), failed, again].filter(Boolean).join(', ');
  const took = group.begin !== null && group.end !== null ? group.end - group.begin : null;
  return el('div', { class: 'row group', 'aria-level': 1, 'aria-expanded': String(!state.folded.has(group.group)) },
    cell(0, el('span', { class: 'label' }, `${group.group} (${counts})`)),
    cell(1), cell(2, bar(group.begin, group.end, '')), cell(3, duration(took)), cell(4), cell(5), cell(6));
}

// -- the grid and its head -----------------------------------------------------------------------------------

const grid = new Grid(document.getElementById('operations'), {
  label: 'Operations of the run; Enter shows one in full',
  render: row,
  chosen: (item) => {
    if (item.group !== undefined) fold(item.group, state.folded.has(item.group));
    else choose(typeof item === 'number' ? item : item.index);
  },
  toggled: (item, open) => {
    if (item.group !== undefined) fold(item.group, open);
    else if (tries.has(item)) {
      if (open) state.tried.add(item);
      else state.tried.delete(item);
      update();
    }
  },
  onPaper: (item) => typeof item !== 'number' || of('status', item) !== 'Succeeded' || data.path[item],
});

let before = null; // what had the focus when the panel opened
const detail = new Detail(document.getElementById('detail'), {
  closed: () => {
    (before && before.isConnected ? before : grid.viewport).focus({ preventScroll: true });
    remember();
  },
  choose: (index) => {
    const place = grid.items.indexOf(index);
    if (place >= 0) grid.activate(place);
    choose(index);
  },
  downstream: (index) => downstream[index],
  pictured: (index) => graph.has(index),
  picture: (index) => {
    if (matchMedia('(max-width: 760px)').matches) detail.close();
    graph.show(index);
  },
});

function choose(index) {
  const focused = document.activeElement;
  if (!detail.open) before = focused && focused !== document.body ? focused : null;
  detail.show(index);
  remember();
}

function fold(name, open) {
  if (open) state.folded.delete(name);
  else state.folded.add(name);
  update();
}

// -- the address: every state of the page has one -----------------------------------------------------------

const seconds = (value) => (Number.isFinite(Number(value)) ? Number(value) : 0);

function remember() {
  address.write({
    q: state.search, status: [...state.statuses].join(','), workload: state.workload, path: state.onlyPath ? '1' : '',
    sort: state.sort === 'start' ? '' : state.sort, group: state.group === 'workload' ? '' : state.group,
    from: state.from > 0 ? state.from.toFixed(3) : '', to: state.to < lastEnd ? state.to.toFixed(3) : '',
    folded: [...state.folded].join('|'), tried: [...state.tried].map((index) => data.id[index]).join('|'),
    op: detail.open ? data.id[detail.index] : '',
  });
}

/** The operation that an address means: the outcome, where it was done again. */
function operationOf(id) {
  const found = all.filter((index) => data.id[index] === id);
  return found.find((index) => !data.superseded[index]) ?? found[0];
}

function restore() {
  const given = address.read(), words = (text, mark) => (text || '').split(mark).filter(Boolean);
  Object.assign(state, {
    search: given.q || '', statuses: new Set(words(given.status, ',')), workload: given.workload || '',
    onlyPath: given.path === '1', sort: ORDERS[given.sort] ? given.sort : 'start',
    group: GROUPS[given.group] && (given.group !== 'tag' || data.tag.some(Boolean)) ? given.group : 'workload', from: seconds(given.from),
    to: given.to ? seconds(given.to) : lastEnd, folded: new Set(words(given.folded, '|')),
    tried: new Set(words(given.tried, '|').map(operationOf).filter((index) => index !== undefined)),
  });
  if (!(state.from >= 0 && state.to > state.from)) Object.assign(state, { from: 0, to: lastEnd });
  fields();
  const meant = given.op ? operationOf(given.op) : undefined;
  if (meant !== undefined) {
    update({ quiet: true });
    const place = grid.items.indexOf(meant);
    if (place >= 0) grid.activate(place);
    choose(meant);
  } else {
    if (detail.open) detail.close();
    update();
  }
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

function update({ quiet = false } = {}) {
  const [shown, found] = items();
  drawHead();
  grid.show(shown);
  const again = againIn(found), outcomes = total - againInAll;
  const says = found.length === total ? operations(total - again) : `${count(found.length - again)} of ${operations(outcomes)} match`;
  document.getElementById('count').textContent = [says, besides(again)].filter(Boolean).join(', and ');
  grid.viewport.classList.toggle('nothing', !found.length);
  if (!found.length) grid.space.replaceChildren(el('p', { class: 'empty' }, 'No operation matches. '));
  minimap.brush();
  if (!quiet) remember();
}

// On paper the failures that are folded on the screen are printed in full.
let unfolded = [];
addEventListener('beforeprint', () => {
  unfolded = [...document.querySelectorAll('#failures details:not([open])')];
  for (const one of unfolded) one.open = true;
});
addEventListener('afterprint', () => {
  for (const one of unfolded) one.open = false;
});

// -- tools ---------------------------------------------------------------------------------------------------

function tools() {
  const bar = document.getElementById('tools');
  const counts = new Map();
  for (const index of all) counts.set(statusOf(index), (counts.get(statusOf(index)) || 0) + 1);
  const chips = [...counts].sort(([a], [b]) => (RANK[a] ?? 2) - (RANK[b] ?? 2)).map(([status, many]) =>
    el('button', { class: 'chip', 'data-status': status, 'aria-pressed': 'false', onclick: () => {
      if (!state.statuses.delete(status)) state.statuses.add(status);
      fields();
      update();
    } }, el('span', { class: `sign ${status === AGAIN ? 'muted' : styleOf(status)}`, 'aria-hidden': 'true' }, `${status === AGAIN ? '↻' : sign(status)} `), `${status} ${count(many)}`));
  const present = data.workloads.filter((name) => data.workload.some((place) => data.strings[place] === name));
  const search = el('input', { type: 'search', id: 'search', placeholder: 'Name, id, message (press /)',
    'aria-label': 'Search operations', oninput: () => {
      state.search = search.value.trim().toLowerCase();
      grid.viewport.scrollTop = 0;
      update();
    }, onkeydown: (event) => { // the results stay in reach: arrows move in them, Enter shows one in full
      if (event.key === 'ArrowDown') grid.activate(grid.active + 1);
      else if (event.key === 'ArrowUp') grid.activate(Math.max(grid.active - 1, 0));
      else if (event.key === 'Enter') grid.choose();
      else return;
      event.preventDefault();
    } });
  slash(search);
  const select = (id, label, options, chosen) => el('label', null, label,
    el('select', { id, onchange: (event) => chosen(event.target.value) },
      ...options.map(option)));
  bar.append(
    search,
    el('fieldset', { class: 'chips', 'aria-label': 'Only these statuses' }, ...chips),
    select('workload', 'Workload', [['', 'all'], ...present.map((name) => [name, name])], (value) => {
      state.workload = value;
      zoom(0, lastEnd);
    }),
    select('group', 'Group by', Object.entries(GROUPS), (value) => {
      state.group = value;
      state.folded.clear();
      update();
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
}

/** Put what is chosen into the fields. */
function fields() {
  const search = document.getElementById('search');
  if (search.value.trim().toLowerCase() !== state.search) search.value = state.search;
  for (const [id, value] of [['workload', state.workload], ['sort', state.sort], ['group', state.group]]) {
    document.getElementById(id).value = value;
  }
  document.getElementById('only-path').checked = state.onlyPath;
  for (const chip of document.querySelectorAll('#tools .chip')) {
    chip.setAttribute('aria-pressed', String(state.statuses.has(chip.dataset.status)));
  }
}

function reset() {
  Object.assign(state, { search: '', workload: '', onlyPath: false, sort: 'start', group: 'workload', from: 0, to: lastEnd });
  state.statuses.clear();
  state.folded.clear();
  document.getElementById('zoom').value = '';
  fields();
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

// -- the whole run in small; drag over it to choose a stretch of time ----------------------------------------

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
  if (event.key === 'Escape' && detail.open) detail.close();
});
addEventListener('beforeprint', () => document.querySelectorAll('details').forEach((one) => { one.open = true; }));
addEventListener('hashchange', restore);

tools();
minimap.start();
graph.start({ chosen: choose });
restore();
