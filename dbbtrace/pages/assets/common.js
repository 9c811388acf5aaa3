// What all scripts of a page use: its data, elements made of text alone, values as people read them.

// In a site the data is a script of its own, because a page opened as a file may read no other file.
const site = window.dbbtrace || null;
const element = document.getElementById('data');
const data = site ? site.data : element ? JSON.parse(element.textContent) : {};
const dataScript = document.querySelector('script[src*="assets/data/"]');
/** The way to the site's folder; '' in a page that is one file. */
const root = dataScript ? dataScript.getAttribute('src').split('assets/')[0] : '';

/** Look whether the page was made again, and if so show it; the address keeps what the reader had chosen. */
function follow() {
  const script = document.createElement('script');
  script.src = `${dataScript.src.split('?')[0]}?${Date.now()}`;
  script.addEventListener('load', () => {
    script.remove();
    if (window.dbbtrace.about.version !== site.about.version) location.reload();
  });
  script.addEventListener('error', () => script.remove());
  document.head.append(script);
}
if (site && site.about.follow) setInterval(follow, site.about.follow * 1000);

/** An element; children are elements or text, never markup. */
function el(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === false || value === null || value === undefined) continue;
    if (key === 'class') made.className = value;
    else if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ''));
  return made;
}

function svg(name, attributes, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return '';
  if (seconds < 9.995) return `${Math.max(seconds, 0).toFixed(2)} s`;
  if (seconds < 99.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds), minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${String(whole % 60).padStart(2, '0')} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

const countFormat = new Intl.NumberFormat('en-US');
function count(number) {
  return number === null || number === undefined ? '' : countFormat.format(number);
}

function bytes(number) {
  if (number === null || number === undefined) return '';
  if (Math.abs(number) < 1000) return `${number} B`;
  let size = number, unit = '';
  for (unit of ['kB', 'MB', 'GB', 'TB', 'PB', 'EB']) {
    size /= 1000;
    if (Math.abs(size) < 999.95) break;
  }
  return `${size.toFixed(1)} ${unit}`;
}

function change(ratio) {
  if (ratio === null || ratio === undefined) return '';
  if (ratio >= 9.995) return `×${(ratio + 1).toFixed(1)}`;
  return `${ratio >= 0 ? '+' : '−'}${Math.abs(ratio * 100).toFixed(0)}%`;
}

const SIGNS = { Succeeded: '✓', Failed: '✗', Warned: '!', Skipped: '○', Running: '…' };
function sign(status) {
  return SIGNS[status] || '?';
}
function styleOf(status) {
  return SIGNS[status] ? status : 'Unknown';
}
