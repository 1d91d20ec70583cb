// What the page keeps in the browser. Servers under several paths of one host do not share it. A
// browser that forbids storage, or is full, keeps nothing: the page works, and forgets.

const prefix = `roomd:${new URL(document.baseURI).pathname}:`;

class Keep {
  #storage;

  // storage returns the Storage; only asking for it may throw.
  constructor(storage) {
    this.#storage = storage;
  }

  get(key, fallback) {
    try {
      const value = JSON.parse(this.#storage().getItem(prefix + key));
      return value ?? fallback;
    } catch {
      return fallback;
    }
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
