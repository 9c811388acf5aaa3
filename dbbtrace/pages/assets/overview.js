// The list of runs: search, statuses, sorting. The rest of the page works without scripts.

const table = document.getElementById('all-runs');
const body = table.tBodies[0];
const rows = [...body.rows];
const texts = rows.map((row) => row.textContent.toLowerCase());
const statusOf = (row) => row.cells[1].textContent.trim().split(' ').pop();
const wanted = { search: '', statuses: new Set() };

function update() {
  let shown = 0;
  rows.forEach((row, place) => {
    const fits = texts[place].includes(wanted.search) && (!wanted.statuses.size || wanted.statuses.has(statusOf(row)));
    row.hidden = !fits;
    shown += fits;
  });
  document.getElementById('count').textContent =
    `${shown === rows.length ? '' : `${count(shown)} of `}${count(rows.length)} run${rows.length === 1 ? '' : 's'}`
    + (shown === rows.length ? '' : ' match');
}

function tools() {
  const counts = new Map();
  for (const row of rows) counts.set(statusOf(row), (counts.get(statusOf(row)) || 0) + 1);
  const search = el('input', { type: 'search', id: 'search', 'aria-label': 'Search runs',
    placeholder: 'Product, run id, gap (press /)', oninput: () => {
      wanted.search = search.value.trim().toLowerCase();
      update();
    } });
  const chips = [...counts].map(([status, many]) =>
    el('button', { class: 'chip', 'aria-pressed': 'false', onclick: (event) => {
      const on = !wanted.statuses.delete(status);
      if (on) wanted.statuses.add(status);
      event.currentTarget.setAttribute('aria-pressed', String(on));
      update();
    } }, el('span', { class: `sign ${styleOf(status)}`, 'aria-hidden': 'true' }, `${sign(status)} `), `${status} ${count(many)}`));
  const bar = document.getElementById('tools');
  bar.append(search, el('fieldset', { class: 'chips', 'aria-label': 'Only these statuses' }, ...chips));
  bar.hidden = false;
}

/** The seconds in a duration that Python wrote; of another text its first number, or the text itself. */
function value(text) {
  const units = { s: 1, min: 60, h: 3600 };
  const parts = [...text.matchAll(/([\d.]+) (s|min|h)\b/g)];
  if (parts.length) return parts.reduce((sum, [, number, unit]) => sum + Number(number) * units[unit], 0);
  return Number.parseFloat(text);
}

function sortable() {
  [...table.tHead.rows[0].cells].forEach((head, place) => {
    const numeric = head.classList.contains('num');
    const button = el('button', { onclick: () => {
      const down = head.getAttribute('aria-sort') !== 'descending';
      for (const other of table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      const key = (row) => row.cells[place].textContent;
      const order = numeric ? (a, b) => (value(key(a)) || 0) - (value(key(b)) || 0) : (a, b) => key(a).localeCompare(key(b));
      body.append(...[...body.rows].sort((a, b) => (down ? -order(a, b) : order(a, b))));
    } }, head.textContent);
    head.replaceChildren(button);
  });
}

addEventListener('keydown', (event) => {
  if (event.key === '/' && !event.target.matches('input') && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    document.getElementById('search').focus();
  }
});

tools();
sortable();
update();
