// The history of one operation: a mark for each run in its charts, and the list of its runs.

const said = { seconds: duration, rows: count, bytes };

function drawMarks() {
  for (const [unit, marks] of Object.entries(data.charts)) {
    const chart = document.querySelector(`#chart-${unit} svg`);
    for (const [number, x, y] of marks) {
      const status = data.strings[data.status[number]], title = svg('title', {});
      title.textContent = `${data.at[number].slice(0, 16)}: ${said[unit](data[unit][number])}, ${status}`;
      chart.append(status === 'Failed' // shape as well as colour shows what failed
        ? svg('path', { d: `M${x} ${y - 5}l5 9h-10z`, class: 'fill-Failed' }, title)
        : svg('circle', { cx: x, cy: y, r: 3.2, class: `fill-${styleOf(status)}` }, title));
    }
  }
}

function runRow(number) {
  const status = data.strings[data.status[number]], page = data.page[number], run = el('code', null, data.run[number]);
  return el('tr', null,
    el('td', { class: 'when' }, data.at[number]),
    el('td', null, el('span', { class: `badge ${styleOf(status)}` },
      el('span', { 'aria-hidden': 'true' }, sign(status)), ` ${status}`)),
    ...['seconds', 'rows', 'bytes'].map((unit) => el('td', { class: 'num' }, said[unit](data[unit][number]))),
    el('td', null, page
      ? el('a', { href: `${root}${page}#${new URLSearchParams({ op: data.operation })}` }, run) : run));
}

if (data.charts) {
  drawMarks();
  document.querySelector('#all-runs tbody').append(...data.at.map((_, number) => runRow(number)));
}
