// One operation in full, in a panel beside the grid (on a phone: below it).

class Detail {
  /** @param panel the aside; options: closed() where the focus goes back, choose(index), drop(index) → downstream */
  constructor(panel, options) {
    this.panel = panel;
    this.options = options;
    this.index = -1;
    panel.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') {
        event.stopPropagation();
        this.close();
      }
    });
  }

  get open() {
    return !this.panel.hidden;
  }

  close() {
    if (!this.open) return;
    this.panel.hidden = true;
    this.options.closed();
  }

  show(index) {
    this.index = index;
    const text = (key) => data.strings[data[key][index]];
    const title = el('h3', { tabindex: -1 }, data.name[index]);
    this.panel.replaceChildren(
      title,
      el('button', { class: 'close', onclick: () => this.close() }, 'Close'),
      this.ways(index),
      this.facts(index, text),
      ...this.message(index, text),
      ...this.history(index),
      ...this.neighbours('Selects from', data.upstream[index]),
      ...this.neighbours('Selected by', this.options.downstream(index)),
    );
    this.panel.hidden = false;
    this.panel.scrollTop = 0;
    title.focus({ preventScroll: true });
  }

  ways(index) {
    const page = (data.page || {})[index];
    return el('p', { class: 'ways' },
      page ? el('a', { href: `${root}${page}` }, 'Its history over all runs') : null,
      this.options.pictured(index)
        ? el('button', { onclick: () => this.options.picture(index) }, 'Show it in the graph') : null);
  }

  facts(index, text) {
    const status = text('status'), word = text('word');
    const at = (seconds) => (seconds === null || data.start === null ? null
      : new Date((data.start + seconds) * 1000).toISOString().replace('T', ' ').slice(0, 23));
    const link = data.trace && data.span[index]
      ? el('a', { href: `${data.trace}?uiFind=${data.span[index]}`, target: '_blank', rel: 'noreferrer' }, 'its span in Jaeger')
      : null;
    const facts = [
      ['Status', el('span', { class: `badge ${styleOf(status)}` }, `${sign(status)} ${status}`,
        word && word !== status ? ` (${word})` : '')],
      ['Kind', text('kind')],
      ['Id', data.id[index]],
      ['Source', text('source')],
      ['Started', at(data.begin[index])],
      ['Ended', at(data.end[index])],
      ['Took', duration(data.seconds[index])],
      ['Rows read', count(data.rowsRead[index])],
      ['Rows written', count(data.rows[index])],
      ['Bytes read', bytes(data.bytesRead[index])],
      ['Bytes written', bytes(data.bytes[index])],
      ['Amount', count(data.amount[index])],
      ['Critical path', data.path[index] ? 'yes: it decided when the run ended' : null],
      [status === 'Skipped' ? 'Left out' : 'Older data', because.has(index) ? `because of ${because.get(index)}` : null],
      ['Superseded', data.superseded[index] ? 'yes: the run did the same again later' : null],
      ['Pipeline', text('pipeline')],
      ['Pipeline run', text('pipelineRun')],
      ['dbt invocation', text('invocation')],
      ['Trace', link],
    ];
    const list = el('dl');
    for (const [name, value] of facts) if (value) list.append(el('dt', null, name), el('dd', null, value));
    return list;
  }

  message(index, text) {
    const said = data.message[index], type = text('errorType');
    return [...this.attempts(index), ...(said || type ? this.outcome(said, type) : [])];
  }

  attempts(index) {
    const tries = data.attempts[index] || [];
    return tries.length ? [el('h3', null, 'Attempts that failed'),
      el('ul', null, ...tries.map((one) => el('li', null, one.said)))] : [];
  }

  outcome(said, type) {
    return [el('h3', null, 'Message'), type ? el('p', { class: 'error-type' }, type) : null,
      said ? el('pre', { tabindex: 0 }, said) : null].filter(Boolean);
  }

  history(index) {
    const past = earlier(index), now = data.seconds[index];
    if (!past.length || now === null) return [];
    const all = [...past, now], most = Math.max(...all, 1e-9), wide = 440 / all.length;
    const said = `Its last ${past.length === 1 ? 'success' : `${past.length} successes`}: median ${duration(data.median[index])}, `
      + `p95 ${duration(data.p95[index])}; now ${duration(now)} (${change(data.change[index])}).`;
    const chart = svg('svg', { class: 'history', viewBox: '0 0 440 110', preserveAspectRatio: 'none', role: 'img',
      'aria-label': said });
    all.forEach((seconds, place) => {
      const height = Math.max((seconds / most) * 104, 1);
      chart.append(svg('rect', { x: place * wide + 1, y: 110 - height, width: Math.max(wide - 2, 1), height,
        class: place === past.length ? 'now' : 'then' }));
    });
    const middle = 110 - (data.median[index] / most) * 104;
    chart.append(svg('line', { x1: 0, x2: 440, y1: middle, y2: middle }));
    return [el('h3', null, 'History'), chart, el('p', { class: 'muted' }, said)];
  }

  neighbours(title, indices) {
    if (!indices.length) return [];
    const list = el('ul');
    for (const index of indices.slice(0, 100)) {
      const status = data.strings[data.status[index]];
      list.append(el('li', null, el('button', { onclick: () => this.options.choose(index) },
        el('span', { class: `badge ${styleOf(status)}` }, sign(status), ' '), data.name[index])));
    }
    if (indices.length > 100) list.append(el('li', null, `and ${indices.length - 100} more`));
    return [el('h3', null, `${title} (${indices.length})`), list];
  }
}
