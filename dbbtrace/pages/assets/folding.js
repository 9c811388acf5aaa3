// Folds many nodes into boxes, so that never more than a number of them is to be drawn, and opens them where one looks.

class Folding {
  /**
   * @param names name of each node
   * @param keys functions node → text, from coarse to fine: each opens a box into smaller ones
   * @param most how many boxes there are at most
   * @param matters node → whether it should be seen first
   */
  constructor(names, keys, most, matters) {
    this.names = names;
    this.keys = keys;
    this.most = most;
    this.matters = matters;
    this.root = { id: '', label: 'all', members: names.map((_, node) => node), depth: 0, parent: null };
    this.opened = new Set([this.root]);
    this.unfold();
  }

  /** What a box holds: smaller boxes, or single nodes (numbers). */
  parts(box) {
    if (!box.parts) box.parts = this.split(box);
    return box.parts;
  }

  split(box) {
    if (box.members.length <= 12 && box !== this.root) return box.members;
    for (let depth = box.depth; depth < this.keys.length; depth += 1) {
      const groups = new Map();
      for (const node of box.members) {
        const key = this.keys[depth](node) || 'other';
        if (!groups.has(key)) groups.set(key, []);
        groups.get(key).push(node);
      }
      if (groups.size > 1 && groups.size <= this.most / 2) {
        return [...groups].map(([key, members]) => this.box(box, key, members, depth + 1));
      }
    }
    if (box.members.length <= 60) return box.members;
    const sorted = [...box.members].sort((a, b) => this.names[a].localeCompare(this.names[b]));
    const size = Math.max(40, Math.ceil(sorted.length / 40)), slices = [];
    for (let first = 0; first < sorted.length; first += size) {
      const members = sorted.slice(first, first + size);
      const label = `${this.names[members[0]]} … ${this.names[members[members.length - 1]]}`;
      slices.push(this.box(box, label, members, this.keys.length));
    }
    return slices;
  }

  box(parent, label, members, depth) {
    if (members.length === 1) return members[0];
    return { id: `${parent.id}/${label}`, label, members, depth, parent };
  }

  /** The boxes and nodes to draw. */
  visible() {
    const found = [], waiting = [...this.parts(this.root)];
    while (waiting.length) {
      const one = waiting.shift();
      if (typeof one !== 'number' && this.opened.has(one)) waiting.push(...this.parts(one));
      else found.push(one);
    }
    return found;
  }

  /** Open boxes while there is room: those with what matters first, then the smallest. */
  unfold() {
    for (;;) {
      const visible = this.visible();
      const room = this.most - visible.length;
      const next = visible.filter((one) => typeof one !== 'number' && this.parts(one).length - 1 <= room)
        .sort((a, b) => b.members.some(this.matters) - a.members.some(this.matters) || a.members.length - b.members.length);
      if (!next.length) return;
      this.opened.add(next[0]);
    }
  }

  /** Open a box; others are folded, those opened longest ago first, until there is room. */
  open(box) {
    const above = new Set();
    for (let one = box; one; one = one.parent) above.add(one);
    this.opened.delete(box);
    this.opened.add(box);
    for (const one of [...this.opened]) {
      if (this.visible().length <= this.most) return;
      if (!above.has(one)) this.close(one);
    }
  }

  /** Fold a box, and what was opened inside it. */
  close(box) {
    for (const one of [...this.opened]) {
      for (let up = one; up; up = up.parent) if (up === box && one !== this.root) this.opened.delete(one);
    }
  }

  /** Open boxes until the node is drawn by itself. */
  reveal(node) {
    for (;;) {
      const box = this.visible().find((one) => typeof one !== 'number' && one.members.includes(node));
      if (!box) return;
      this.open(box);
    }
  }
}
