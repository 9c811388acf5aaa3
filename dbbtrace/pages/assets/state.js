// What the reader has chosen is in the page's address, behind the #, so that it can be sent to a colleague.

const address = {
  /** The values: {name: text}. */
  read() {
    return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  },

  /** Write the values; empty ones are left out, and what others wrote stays. */
  write(values) {
    const all = new URLSearchParams(location.hash.slice(1));
    for (const [name, value] of Object.entries(values)) {
      if (value) all.set(name, value);
      else all.delete(name);
    }
    const text = all.toString();
    if (text === location.hash.slice(1)) return;
    try {
      history.replaceState(null, '', text ? `#${text}` : location.pathname + location.search);
    } catch {
      // a page within a notebook has no address
    }
  },
};

/** Focus the search with /, from anywhere but another field. */
function slash(search) {
  addEventListener('keydown', (event) => {
    const typing = event.target.matches && event.target.matches('input[type="search"], select, textarea');
    if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  });
}
