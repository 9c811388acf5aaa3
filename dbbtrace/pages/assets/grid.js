// A grid of any number of rows. Only the rows in view are in the document. Works with keyboard and screen reader.

class Grid {
  /**
   * @param host where it goes
   * @param options columns: [{key, title, class, sort}], render(item) → row element, chosen(item), toggled(item),
   *   label: what the grid holds
   */
  constructor(host, options) {
    this.options = options;
    this.items = [];
    this.active = -1;
    this.shown = new Map();
    this.printing = false;
    this.head = el('div', { class: 'row head', role: 'row', 'aria-rowindex': 1 });
    this.space = el('div', { class: 'space', role: 'rowgroup' });
    this.viewport = el('div', {
      class: 'viewport', role: 'treegrid', tabindex: 0, 'aria-label': options.label,
      onkeydown: (event) => this.key(event),
      onscroll: () => this.schedule(),
      onclick: (event) => this.click(event),
    });
    this.viewport.append(this.space);
    // The head does not scroll with the rows, but belongs to the grid.
    this.head.id = 'grid-head';
    this.viewport.setAttribute('aria-owns', 'grid-head');
    host.replaceChildren(el('div', { class: 'grid' }, this.head, this.viewport));
    new ResizeObserver(() => this.resized()).observe(this.viewport);
    addEventListener('beforeprint', () => this.print(true));
    addEventListener('afterprint', () => this.print(false));
  }

  resized() {
    const height = parseFloat(getComputedStyle(document.documentElement).getPropertyValue('--row'));
    if (height && height !== this.rowHeight) {
      this.rowHeight = height;
      this.clear();
    }
    this.head.style.paddingRight = `${10 + this.viewport.offsetWidth - this.viewport.clientWidth}px`;
    this.space.style.height = `${this.items.length * (this.rowHeight || 30)}px`;
    this.schedule();
  }

  /** Show these items. The active one stays active if it is still among them. */
  show(items) {
    const before = this.items[this.active];
    this.items = items;
    this.active = before === undefined ? -1 : items.indexOf(before);
    this.viewport.setAttribute('aria-rowcount', items.length + 1);
    this.clear();
    this.resized();
    this.draw(); // at once, not in the next frame: the count always fits the rows
  }

  clear() {
    this.shown.clear();
    this.space.replaceChildren();
  }

  schedule() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.draw();
    });
  }

  draw() {
    if (this.printing || !this.rowHeight) return;
    const first = Math.max(Math.floor(this.viewport.scrollTop / this.rowHeight) - 8, 0);
    const last = Math.min(
      Math.ceil((this.viewport.scrollTop + this.viewport.clientHeight) / this.rowHeight) + 8, this.items.length);
    for (const [place, row] of this.shown) {
      if (place < first || place >= last) {
        row.remove();
        this.shown.delete(place);
      }
    }
    const fresh = document.createDocumentFragment();
    for (let place = first; place < last; place += 1) if (!this.shown.has(place)) fresh.append(this.make(place));
    this.space.append(fresh);
    this.mark();
  }

  make(place) {
    const row = this.options.render(this.items[place], place);
    row.id = `row-${place}`;
    row.dataset.place = place;
    row.setAttribute('role', 'row');
    row.setAttribute('aria-rowindex', place + 2);
    row.style.transform = `translateY(${place * this.rowHeight}px)`;
    this.shown.set(place, row);
    return row;
  }

  mark() {
    for (const [place, row] of this.shown) {
      row.classList.toggle('active', place === this.active);
      row.setAttribute('aria-selected', place === this.active);
    }
    if (this.shown.has(this.active)) this.viewport.setAttribute('aria-activedescendant', `row-${this.active}`);
    else this.viewport.removeAttribute('aria-activedescendant');
  }

  /** Make the item at the place active and bring it into view. */
  activate(place) {
    if (!this.items.length) return;
    this.active = Math.max(0, Math.min(place, this.items.length - 1));
    const top = this.active * this.rowHeight, view = this.viewport;
    if (top < view.scrollTop) view.scrollTop = top;
    else if (top + this.rowHeight > view.scrollTop + view.clientHeight) {
      view.scrollTop = top + this.rowHeight - view.clientHeight;
    }
    this.draw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(Math.floor(this.viewport.clientHeight / this.rowHeight) - 1, 1);
    const item = this.items[this.active];
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
    if (event.key in moves) this.activate(this.active < 0 ? 0 : this.active + moves[event.key]);
    else if (event.key === 'Home') this.activate(0);
    else if (event.key === 'End') this.activate(this.items.length - 1);
    else if ((event.key === 'Enter' || event.key === ' ') && item !== undefined) this.options.chosen(item);
    else if (event.key === 'ArrowLeft' && item !== undefined) this.options.toggled(item, false);
    else if (event.key === 'ArrowRight' && item !== undefined) this.options.toggled(item, true);
    else return;
    event.preventDefault();
  }

  /** The active item, or the first. */
  choose() {
    if (!this.items.length) return;
    if (this.active < 0) this.activate(0);
    this.options.chosen(this.items[this.active]);
  }

  click(event) {
    const row = event.target.closest('[data-place]');
    if (!row) return;
    this.activate(Number(row.dataset.place));
    this.options.chosen(this.items[this.active]);
  }

  /** On paper all rows are printed; if there are very many, only the most important ones. */
  print(begins) {
    this.printing = begins;
    this.clear();
    if (!begins) {
      this.resized();
      return;
    }
    const items = this.items.length <= 2000 ? this.items : this.items.filter(this.options.onPaper).slice(0, 2000);
    this.space.append(...items.map((item, place) => this.options.render(item, place)));
    if (items.length < this.items.length) {
      const more = this.items.length - items.length;
      this.space.append(el('p', { class: 'empty' },
        `${count(more)} more successful operation${more === 1 ? ' is' : 's are'} on the screen only.`));
    }
  }
}
