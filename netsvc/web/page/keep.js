// What the page keeps in the browser. Servers under several paths of one host do not share it. A
// browser that forbids storage, or is full, keeps nothing: the page works, and forgets. What was kept may be of another version
// of the page, or anything.

const prefix = `roomd:${new URL(document.baseURI).pathname}:`;

const kind = (v) => (v === null ? "null" : Array.isArray(v) ? "array" : typeof v);

class Keep {
  #storage;

  // storage returns the Storage; only asking for it may throw.
  constructor(storage) {
    this.#storage = storage;
  }

  // get returns what is kept, if it is of the kind of fallback. An object inherits nothing: its keys may be any names.
  get(key, fallback) {
    let value = fallback;
    try {
      const kept = JSON.parse(this.#storage().getItem(prefix + key));
      if (kind(kept) === kind(fallback)) value = kept;
    } catch { /* nothing is kept */ }
    return kind(value) === "object" ? Object.assign(Object.create(null), value) : value;
  }

  // set keeps a value; undefined removes it.
  set(key, value) {
    try {
      if (value === undefined) this.#storage().removeItem(prefix + key);
      else this.#storage().setItem(prefix + key, JSON.stringify(value));
    } catch { /* nothing is kept */ }
  }
}

export const keep = new Keep(() => localStorage);
keep.session = new Keep(() => sessionStorage);
