// The tables of runs and of operations: search, statuses, choices, sorting. All else on the page needs no scripts.

/** Seconds of what Python wrote as a duration; other texts by their first number. */
function value(text) {
  const units = { s: 1, min: 60, h: 3600 };
  const parts = [...text.matchAll(/([\d.]+) (s|min|h)\b/g)];
  if (parts.length) return parts.reduce((sum, [, number, unit]) => sum + Number(number) * units[unit], 0);
  return Number.parseFloat(text.replaceAll(',', ''));
}

class List {
  /**
   * @param table the table
   * @param options tools, count: where they go, or null; noun; prefix of its names in the address;
   *   chosen: titles of the columns that get a choice; placeholder of the search
   */
  constructor(table, options) {
    this.table = table;
    this.options = options;
    this.body = table.tBodies[0];
    this.rows = [...this.body.rows];
    this.titles = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
    this.texts = this.rows.map((row) => row.textContent.toLowerCase());
    this.status = this.titles.findIndex((title) => ['Status', 'Last'].includes(title));
    this.wanted = { search: '', statuses: new Set(), choices: {}, sort: '' };
    this.sortable();
    if (options.tools) this.tools();
    this.restore();
    addEventListener('hashchange', () => this.restore());
  }

  statusOf(row) {
    return row.cells[this.status].textContent.trim().split(' ').pop();
  }

  name(key) {
    return this.options.prefix + key;
  }

  tools() {
    const counts = new Map();
    for (const row of this.rows) counts.set(this.statusOf(row), (counts.get(this.statusOf(row)) || 0) + 1);
    this.search = el('input', { type: 'search', id: this.name('search'),
      'aria-label': `Search ${this.options.noun}s`, placeholder: this.options.placeholder,
      oninput: () => this.choose(() => { this.wanted.search = this.search.value.trim().toLowerCase(); }) });
    this.chips = [...counts].map(([status, many]) => el('button', { class: 'chip', 'data-status': status,
      onclick: () => this.choose(() => {
        if (!this.wanted.statuses.delete(status)) this.wanted.statuses.add(status);
      }) }, el('span', { class: `sign ${styleOf(status)}`, 'aria-hidden': 'true' }, `${sign(status)} `), `${status} ${count(many)}`));
    this.selects = this.options.chosen.map((title) => {
      const column = this.titles.indexOf(title);
      const present = [...new Set(this.rows.map((row) => row.cells[column].textContent.trim()))].sort();
      if (present.length < 2) return null;
      const select = el('select', { onchange: () => this.choose(() => { this.wanted.choices[title] = select.value; }) },
        el('option', { value: '' }, 'all'), ...present.map((each) => el('option', { value: each }, each || 'none')));
      return [title, select, column];
    }).filter(Boolean);
    this.options.tools.append(this.search,
      el('fieldset', { class: 'chips', 'aria-label': 'Only these statuses' }, ...this.chips),
      ...this.selects.map(([title, select]) => el('label', null, title, select)));
    this.options.tools.hidden = false;
    if (!this.options.prefix) slash(this.search);
  }

  sortable() {
    this.heads = [...this.table.tHead.rows[0].cells];
    this.heads.forEach((head, place) => {
      const title = this.titles[place];
      head.replaceChildren(el('button', { onclick: () => this.choose(() => {
        this.wanted.sort = this.wanted.sort === `-${title}` ? title : `-${title}`;
      }) }, title));
    });
  }

  choose(change) {
    change();
    const { search, statuses, choices, sort } = this.wanted;
    address.write({
      [this.name('q')]: search, [this.name('status')]: [...statuses].join(','), [this.name('sort')]: sort,
      ...Object.fromEntries(this.options.chosen.map((title) => [this.key(title), choices[title] || ''])),
    });
    this.update();
  }

  key(title) {
    return this.name(title.toLowerCase().replace(' ', '-'));
  }

  restore() {
    const given = address.read();
    this.wanted.search = (given[this.name('q')] || '').toLowerCase();
    this.wanted.statuses = new Set((given[this.name('status')] || '').split(',').filter(Boolean));
    this.wanted.sort = given[this.name('sort')] || '';
    for (const title of this.options.chosen) this.wanted.choices[title] = given[this.key(title)] || '';
    if (this.search && this.search.value.trim().toLowerCase() !== this.wanted.search) this.search.value = this.wanted.search;
    for (const [title, select] of this.selects || []) select.value = this.wanted.choices[title];
    this.update();
  }

  fits(row, place) {
    const { search, statuses } = this.wanted;
    return this.texts[place].includes(search) && (!statuses.size || statuses.has(this.statusOf(row)))
      && (this.selects || []).every(([title, , column]) => !this.wanted.choices[title]
        || row.cells[column].textContent.trim() === this.wanted.choices[title]);
  }

  update() {
    let shown = 0;
    this.rows.forEach((row, place) => {
      row.hidden = !this.fits(row, place);
      shown += !row.hidden;
    });
    for (const chip of this.chips || []) {
      chip.setAttribute('aria-pressed', String(this.wanted.statuses.has(chip.dataset.status)));
    }
    this.sort();
    const all = this.rows.length, noun = this.options.noun;
    if (this.options.count) {
      this.options.count.textContent = `${shown === all ? '' : `${count(shown)} of `}${count(all)} ${noun}${all === 1 ? '' : 's'}`
        + (shown === all ? '' : ' match');
    }
  }

  sort() {
    const title = this.wanted.sort.replace(/^-/, ''), down = this.wanted.sort.startsWith('-');
    const place = this.titles.indexOf(title);
    this.heads.forEach((head, each) => {
      if (each === place) head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    });
    if (this.wanted.sort === this.sorted) return;
    this.sorted = this.wanted.sort;
    if (place < 0) {
      this.body.append(...this.rows);
      return;
    }
    const key = (row) => row.cells[place].textContent.trim();
    const order = this.heads[place].classList.contains('num')
      ? (a, b) => (value(key(a)) || 0) - (value(key(b)) || 0) : (a, b) => key(a).localeCompare(key(b));
    this.body.append(...[...this.rows].sort((a, b) => (down ? -order(a, b) : order(a, b))));
  }
}

const at = (id) => document.getElementById(id);
if (at('all-runs')) {
  new List(at('all-runs'), { tools: at('tools'), count: at('count'), noun: 'run', prefix: '',
    chosen: at('tools') ? ['Data product', 'Environment'] : [], placeholder: 'Product, run id, mark (press /)' });
}
if (at('all-operations')) {
  new List(at('all-operations'), { tools: at('operation-tools'), count: at('operation-count'), noun: 'operation',
    prefix: 'o-', chosen: ['Kind'], placeholder: 'Operation' });
}
