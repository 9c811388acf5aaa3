// What depends on what, as a picture: loads → sources → models → semantic models. dagre does the layout.

const graph = {
  MOST: 150,
  MANY: 80,
  WIDE: 190,
  WORKLOADS: { source: 'integration', table: 'integration', exposure: 'consumption', 'semantic model': 'consumption' },
  host: document.getElementById('graph'),
  section: document.getElementById('lineage'),
  zoom: 1,
  ready: false,

  /** The nodes: the run's operations, and what it has no row of; of tests those that failed or warned. */
  start(options) {
    this.options = options;
    const because = data.graph.because;
    const listed = (one) => ({ index: one, name: data.name[one], kind: of('kind', one), status: of('status', one),
      schema: of('schema', one), workload: of('workload', one) });
    this.nodes = data.graph.nodes.map((one, number) => {
      const node = { index: null, ...(typeof one === 'number' ? listed(one) : one), because: because[number] };
      if (node.kind === 'model refresh') Object.assign(node, { kind: 'semantic model', name: `semantic model ${node.name}` });
      return node;
    });
    this.place = new Map(this.nodes.map((node, number) => [node.index, number]).filter(([index]) => index !== null));
    this.edges = [];
    for (let at = 0; at < data.graph.edges.length; at += 2) this.edges.push(data.graph.edges.slice(at, at + 2));
    if (!this.edges.length) return;
    this.section.hidden = false;
    this.tools();
    this.restore(address.read());
    new IntersectionObserver((seen, observer) => {
      if (!seen.some((one) => one.isIntersecting)) return;
      observer.disconnect();
      this.draw();
    }, { rootMargin: '200px' }).observe(this.section);
    addEventListener('beforeprint', () => this.draw());
  },

  has(index) {
    return this.ready && this.place.has(index);
  },

  tools() {
    this.ready = true;
    const bar = document.getElementById('graph-tools');
    const select = (id, label, options, chosen) => el('label', null, label,
      el('select', { id, onchange: (event) => chosen(event.target.value) },
        ...options.map(option)));
    bar.append(
      select('graph-by', 'Fold by', [['schema', 'schema'], ['tag', 'tag'], ['kind', 'type'], ['workload', 'workload'], ['prefix', 'prefix of the name']],
        (value) => this.choose({ by: value })),
      el('label', null, el('input', { type: 'checkbox', id: 'graph-affected',
        onchange: (event) => this.choose({ affected: event.target.checked }) }), 'only what is affected'),
      el('button', { onclick: () => this.scale(1.25), 'aria-label': 'Larger' }, '+'),
      el('button', { onclick: () => this.scale(0.8), 'aria-label': 'Smaller' }, '−'),
      el('button', { onclick: () => this.choose({}) }, 'Fold again'),
      el('span', { id: 'graph-opened', class: 'chips' }));
  },

  restore(given) {
    const known = ['schema', 'kind', 'workload', 'prefix', ...(data.tag.some(Boolean) ? ['tag'] : [])];
    this.by = known.includes(given.fold) ? given.fold : 'schema';
    this.affected = given.affected ? given.affected === '1' : this.affectedAtFirst();
    document.getElementById('graph-by').value = this.by;
    document.getElementById('graph-affected').checked = this.affected;
    this.fold();
    for (const id of (given.open || '').split('|').filter(Boolean)) {
      const box = this.boxNamed(id);
      if (box) this.open(box);
    }
  },

  choose(change) {
    Object.assign(this, change);
    this.fold();
    this.draw();
    this.remember();
  },

  remember() {
    address.write({ fold: this.by === 'schema' ? '' : this.by, affected: this.affected === this.affectedAtFirst() ? '' : this.affected ? '1' : '0',
      open: this.byHand.map((box) => box.id).join('|') });
  },

  fold() {
    const keys = {
      schema: (node) => this.nodes[node].schema,
      tag: (node) => (this.nodes[node].index === null ? null : of('tag', this.nodes[node].index)),
      kind: (node) => this.nodes[node].kind,
      workload: (node) => this.nodes[node].workload || this.WORKLOADS[this.nodes[node].kind] || 'transformation',
      prefix: (node) => this.nodes[node].name.split(' ').pop().split(/[_.]/)[0],
    };
    const order = [this.by, ...['schema', 'kind', 'prefix'].filter((key) => key !== this.by)];
    const chosen = this.chosen();
    this.listed = chosen;
    this.folding = new Folding(chosen.map((node) => this.nodes[node].name),
      order.map((key) => (place) => keys[key](chosen[place])), this.MOST, (place) => this.isBad(chosen[place]));
    this.byHand = [];
  },

  isBad(node) {
    const { status, because } = this.nodes[node];
    return Boolean(because) || status === 'Failed' || status === 'Skipped';
  },

  /** Whether it shows older data although it was not left out. */
  isOld(node) {
    return Boolean(this.nodes[node].because) && this.nodes[node].status !== 'Skipped';
  },

  /** What the second line of a box says of one node. */
  said({ status, said, because, kind }) {
    const words = said || { Skipped: 'left out', Unknown: kind }[status] || status;
    if (!because || kind === 'source') return words;
    return status === 'Skipped' ? `${words}: ${because}` : `older data: ${because}`;
  },

  /** All nodes; or those that failed, were left out or show older data, and what the failed ones read. */
  chosen() {
    const all = this.nodes.map((_, node) => node);
    if (!this.affected) return all;
    const wanted = new Set(all.filter((node) => this.isBad(node)));
    for (const [from, to] of this.edges) if (this.nodes[to].status === 'Failed') wanted.add(from);
    for (const [from, to] of this.edges) if (this.isBad(from)) wanted.add(to);
    return all.filter((node) => wanted.has(node));
  },

  /** Of a large run in which something is not right, that is what one looks for. */
  affectedAtFirst() {
    return this.nodes.length > this.MANY && this.nodes.some((_, node) => this.isBad(node));
  },

  boxNamed(id) {
    const waiting = [this.folding.root];
    while (waiting.length) {
      const box = waiting.pop();
      if (box.id === id) return box;
      if (id.startsWith(`${box.id}/`)) waiting.push(...this.folding.parts(box).filter((one) => typeof one !== 'number'));
    }
    return null;
  },

  open(box) {
    this.folding.open(box);
    this.byHand = [...this.byHand.filter((one) => one !== box), box].filter((one) => this.folding.opened.has(one));
  },

  /** What is drawn: boxes with their names, statuses and edges between them. */
  picture() {
    const boxes = this.folding.visible().map((one, id) => {
      const members = (typeof one === 'number' ? [one] : one.members).map((place) => this.listed[place]);
      const statuses = members.map((node) => this.nodes[node].status);
      const failed = statuses.filter((status) => status === 'Failed').length;
      const stale = members.filter((node) => this.isOld(node)).length;
      const skipped = statuses.filter((status) => status === 'Skipped').length;
      const single = members.length === 1 ? this.nodes[members[0]] : null;
      const style = failed ? 'Failed' : stale ? 'Stale' : skipped ? 'Skipped'
        : statuses.includes('Warned') ? 'Warned' : statuses.every((status) => status === 'Unknown') ? 'Unknown' : 'Succeeded';
      const facts = single ? [this.said(single)]
        : [`${count(members.length)} together`, failed ? `${count(failed)} failed` : '', skipped ? `${count(skipped)} left out` : '',
          stale ? `${count(stale)} with older data` : ''];
      return { id, one, members, single, style, name: single ? single.name : one.label, facts: facts.filter(Boolean).join(', ') };
    });
    const boxOf = new Map(boxes.flatMap((box) => box.members.map((node) => [node, box])));
    const edges = new Map();
    for (const [from, to] of this.edges) {
      const a = boxOf.get(from), b = boxOf.get(to);
      if (!a || !b || a === b) continue;
      const key = `${a.id} ${b.id}`, bad = this.isBad(from) && this.isBad(to);
      edges.set(key, { a, b, bad: bad || Boolean(edges.get(key)?.bad) });
    }
    return { boxes, edges: [...edges.values()] };
  },

  /**
   * The edges that the layout is told of. Of very many, dagre takes minutes: then each box keeps the edge to the child
   * from which the longest way goes on, which decides its column, and each child one edge to it. The rest is drawn
   * straight.
   */
  leading(boxes, edges) {
    if (edges.length <= 400) return edges;
    const below = new Map(boxes.map((box) => [box, []])), height = new Map();
    for (const edge of edges) below.get(edge.a).push(edge);
    const heightOf = (box, above) => {
      if (height.has(box)) return height.get(box);
      if (above.has(box)) return 0; // folded boxes may go round in a circle
      above.add(box);
      const found = 1 + Math.max(0, ...below.get(box).map((edge) => heightOf(edge.b, above)));
      above.delete(box);
      height.set(box, found);
      return found;
    };
    for (const box of boxes) heightOf(box, new Set());
    const tallest = (found) => found.reduce((a, b) => (height.get(b.b) > height.get(a.b) ? b : a));
    const kept = new Set(boxes.filter((box) => below.get(box).length).map((box) => tallest(below.get(box))));
    const fed = new Set([...kept].map((edge) => edge.b));
    for (const edge of edges) {
      if (fed.has(edge.b)) continue;
      fed.add(edge.b);
      kept.add(edge);
    }
    return [...kept];
  },

  /** Edges for the layout alone: semantic models of which nobody says what they read come last all the same. */
  beside(boxes, edges) {
    const joined = new Set(edges.flatMap(({ a, b }) => [a, b])), above = new Set(edges.map(({ a }) => a));
    const last = [...boxes].reverse().find((box) => joined.has(box) && !above.has(box));
    const lone = (box) => !joined.has(box) && box.members.every((node) => this.nodes[node].kind === 'semantic model');
    return last ? boxes.filter(lone).map((box) => [last, box]) : [];
  },

  draw() {
    const { boxes, edges } = this.picture();
    const leading = this.leading(boxes, edges);
    const layout = new dagre.graphlib.Graph();
    layout.setGraph({ rankdir: 'LR', nodesep: 10, ranksep: 32, marginx: 8, marginy: 8,
      ranker: leading === edges && boxes.length < 100 ? 'network-simplex' : 'longest-path' });
    layout.setDefaultEdgeLabel(() => ({}));
    for (const box of boxes) layout.setNode(String(box.id), { width: this.WIDE, height: 40 });
    for (const { a, b } of leading) layout.setEdge(String(a.id), String(b.id));
    for (const [a, b] of this.beside(boxes, edges)) layout.setEdge(String(a.id), String(b.id));
    dagre.layout(layout);
    const size = layout.graph();
    this.size = [size.width || 10, size.height || 10];
    for (const box of boxes) Object.assign(box, (({ x, y }) => ({ x, y }))(layout.node(String(box.id))));
    this.boxes = boxes;
    this.drawnEdges = edges;
    const drawing = svg('svg', { viewBox: `0 0 ${this.size[0]} ${this.size[1]}`, role: 'group',
      'aria-label': 'Loads, sources, models and semantic models; arrow keys follow the edges, Enter opens' });
    for (const edge of [...edges].sort((one, other) => one.bad - other.bad)) {
      const laid = layout.edge(String(edge.a.id), String(edge.b.id));
      const ends = [{ x: edge.a.x + this.WIDE / 2, y: edge.a.y }, { x: edge.b.x - this.WIDE / 2, y: edge.b.y }];
      const points = [ends[0], ...(laid ? laid.points.slice(1, -1) : []), ends[1]];
      drawing.append(svg('path', { class: `edge${edge.bad ? ' bad' : ''}`,
        d: `M${points.map((point) => `${point.x.toFixed(1)} ${point.y.toFixed(1)}`).join('L')}` }));
    }
    for (const box of boxes) drawing.append(this.drawBox(box));
    drawing.addEventListener('keydown', (event) => this.key(event));
    this.host.replaceChildren(drawing);
    this.drawing = drawing;
    this.fit();
    const total = this.listed.length, all = this.nodes.length;
    const nodes = total === all ? `${count(total)} nodes` : `${count(total)} of ${count(all)} nodes`;
    document.getElementById('graph-count').textContent = boxes.length === total ? nodes
      : `${nodes} in ${count(boxes.length)} boxes; Enter or a click opens a box`;
    document.getElementById('graph-opened').replaceChildren(...this.byHand.map((box) =>
      el('button', { class: 'chip', onclick: () => this.shut(box) }, `Fold ${box.label}`)));
  },

  drawBox(box) {
    const x = box.x - this.WIDE / 2, y = box.y - 20, cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
    const made = svg('g', { class: `box ${box.style}${box.single ? '' : ' many'}`, tabindex: box.id ? -1 : 0, role: 'button',
      'aria-label': `${box.name}: ${box.facts}`, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` });
    const title = svg('title', {});
    title.textContent = `${box.name}: ${box.facts}`;
    const name = svg('text', { x: 12, y: 17 }), facts = svg('text', { x: 12, y: 32, class: 'facts' });
    name.textContent = cut(box.name, 22);
    facts.textContent = cut(box.facts, 27);
    if (!box.single) made.append(svg('rect', { x: 4, y: -4, width: this.WIDE, height: 40, rx: 5, class: 'behind' }));
    made.append(title, svg('rect', { width: this.WIDE, height: 40, rx: 5 }), svg('rect', { width: 5, height: 40, rx: 2, class: 'mark' }), name, facts);
    made.addEventListener('click', () => this.choosing(box));
    box.made = made;
    return made;
  },

  choosing(box) {
    this.focus(box);
    if (box.single) {
      if (box.single.index !== null) this.options.chosen(box.single.index);
      return;
    }
    const first = box.members[0];
    this.open(box.one);
    this.draw();
    this.remember();
    this.focus(this.boxes.find((one) => one.members.includes(first)));
  },

  shut(box) {
    this.folding.close(box);
    this.byHand = this.byHand.filter((one) => this.folding.opened.has(one));
    this.draw();
    this.remember();
  },

  /** Show one operation in the picture. */
  show(index) {
    if (this.affected && !this.listed.includes(this.place.get(index))) {
      this.affected = false;
      document.getElementById('graph-affected').checked = false;
      this.fold();
    }
    this.folding.reveal(this.listed.indexOf(this.place.get(index)));
    this.draw();
    this.focus(this.boxes.find((box) => box.members.includes(this.place.get(index))));
  },

  focus(box) {
    if (!box) return;
    for (const one of this.boxes) one.made.setAttribute('tabindex', one === box ? 0 : -1);
    box.made.focus({ preventScroll: true });
    box.made.scrollIntoView({ block: 'nearest', inline: 'center' });
    this.active = box;
  },

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const box = this.boxes.find((one) => one.made === event.target);
    if (!box) return;
    const near = (found) => found.sort((a, b) => Math.abs(a.y - box.y) - Math.abs(b.y - box.y))[0];
    const column = this.boxes.filter((one) => Math.abs(one.x - box.x) < 60).sort((a, b) => a.y - b.y);
    const moves = {
      ArrowLeft: () => near(this.drawnEdges.filter((edge) => edge.b === box).map((edge) => edge.a)),
      ArrowRight: () => near(this.drawnEdges.filter((edge) => edge.a === box).map((edge) => edge.b)),
      ArrowUp: () => column[column.indexOf(box) - 1],
      ArrowDown: () => column[column.indexOf(box) + 1],
      Home: () => this.boxes[0],
    };
    if (event.key in moves) this.focus(moves[event.key]());
    else if (event.key === 'Enter' || event.key === ' ') this.choosing(box);
    else if (event.key === '+') this.scale(1.25);
    else if (event.key === '-') this.scale(0.8);
    else return;
    event.preventDefault();
  },

  fit() {
    const wide = this.host.clientWidth - 4;
    this.zoom = Math.max(Math.min(1, wide / this.size[0]), 0.68);
    this.scale(1);
    const first = this.boxes.find((box) => box.style === 'Failed') || this.boxes.reduce((a, b) => (b.x < a.x ? b : a));
    this.host.scrollLeft = first.x * this.zoom - this.host.clientWidth / 3;
    this.host.scrollTop = first.y * this.zoom - this.host.clientHeight / 2;
  },

  scale(factor) {
    this.zoom = Math.max(0.1, Math.min(this.zoom * factor, 3));
    this.drawing.style.width = `${this.size[0] * this.zoom}px`;
    this.drawing.style.height = `${this.size[1] * this.zoom}px`;
  },
};
